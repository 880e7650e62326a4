"""What runs left: their files, copying those into the workspace, comparing and repeating runs, and keeping house."""
