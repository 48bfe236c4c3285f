"""In which order connections and requests are taken up, where more come than can be at once."""
