"""What people are shown of pipelines and runs, as text: shared by the command and the live notebook. Nothing here prints."""
