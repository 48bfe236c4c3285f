"""What a run is: plan, folder, job, clock, device, memory."""
