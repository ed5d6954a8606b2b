"""What this process may use of the machine that it runs on."""
