//! Who is asking: passwords, tokens, and which tokens have been revoked.
