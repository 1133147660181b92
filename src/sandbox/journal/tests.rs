//! What survives which death.
