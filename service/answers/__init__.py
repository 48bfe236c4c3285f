"""From images to one file or a container of files."""
