//! The settings file: its path goes in, the settings that it holds come out, or on one line what is wrong where.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::Settings;

/// A settings file that cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("cannot read the settings file {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the settings file {} is wrong in line {number} (`{line}`): {message}", path.display())]
    Parse { path: PathBuf, number: usize, line: String, message: String },
    #[error("the settings file {}: {key} must be from {least} to {most}", path.display())]
    Range { path: PathBuf, key: &'static str, least: u32, most: u32 },
}

pub(super) fn read(path: &Path) -> Result<Settings, ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.into(), source })?;
    let settings: Settings = toml::from_str(&text).map_err(|error| parse_error(path, &text, &error))?;
    let ranges = [
        ("max-connections", settings.max_connections, 1, 4_194_304),
        ("head-bytes", settings.head_bytes, 64, 8_192),
    ];
    for (key, value, least, most) in ranges {
        if value.is_some_and(|v| v < least || v > most) {
            return Err(ConfigError::Range { path: path.into(), key, least, most });
        }
    }
    Ok(settings)
}

/// What is wrong where, on one line: TOML's own message has a picture of the place.
fn parse_error(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let number = text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count();
    let line = text.lines().nth(number).unwrap_or_default().trim().to_owned();
    let message = error.message().split_whitespace().collect::<Vec<_>>().join(" ");
    ConfigError::Parse { path: path.into(), number: number + 1, line, message }
}
