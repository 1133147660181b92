//! What leaves of every kind that Kubernetes has, filled with canaries; and the fuzz targets over their corpus.

mod corpus;
mod filler;
mod kinds;
