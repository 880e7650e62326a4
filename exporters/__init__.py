"""Installed as `kale_nb.exporters`: where nbconvert will find the exporters of this project. Holds none yet."""
