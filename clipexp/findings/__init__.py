"""What a run's curves say: rules that find a known trouble, or a chance, with the evidence for it. Pure; no torch here."""
