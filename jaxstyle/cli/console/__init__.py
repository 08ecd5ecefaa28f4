"""What people see while a command runs: lines, progress, the preview page, interruptions."""
