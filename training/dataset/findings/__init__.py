"""What is wrong with a dataset, or looks as if: found, and said in a sentence with what to do."""
