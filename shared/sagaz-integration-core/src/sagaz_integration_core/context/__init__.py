"""What belongs to the request or the step at hand: correlation id, log fields, current step."""
