"""What happens: workflows, plans, runs. Knows nothing of the studio and of single nodes."""
