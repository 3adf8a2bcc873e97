"""What the page of one network says and shows of questions that have much to say."""
