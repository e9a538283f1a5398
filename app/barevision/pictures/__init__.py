"""Pictures, encoded bytes, to images, arrays, and back: headers, limits, decoding, drawing. No HTTP, no files."""
