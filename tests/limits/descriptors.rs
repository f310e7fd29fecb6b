//! The process under a limit of file descriptors.
