"""What a client asks for: options, order, formats, uploads, addresses."""
