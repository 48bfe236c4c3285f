"""What stands before every route: accounting, access, rates, uploads."""
