//! The window.
pub mod amount;
pub mod show;
pub mod views;
