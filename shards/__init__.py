from shards import environment

environment.require_for_module()
