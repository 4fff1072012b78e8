pub fn point(_n: &str) {}
