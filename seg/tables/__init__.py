"""Tables, as files hold them."""
