"""What a row looks like to an encoder: columns, augmentations and changes behind the tokenizer."""
