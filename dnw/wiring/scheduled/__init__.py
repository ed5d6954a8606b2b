"""Wirings whose edges change at steps of their own: a schedule over the whole run says when."""
