"""Foreign bytes are decoded in processes that can be ended, within a budget of time and memory."""
