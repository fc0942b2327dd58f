"""What operators ask about users and notifications."""
