"""What commands that make pictures share: their arguments, the files of a job, keeping what is done."""
