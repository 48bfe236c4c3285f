"""Folders and lists that hold images and masks, each layout in a file."""
