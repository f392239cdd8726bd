// How times are written here, and the device that all of them are measured on.
export const device = { backend: 'wasm', memory: null, speed: 1 };
export const us = (seconds) => `${(seconds * 1e6).toFixed(seconds < 1e-6 ? 3 : 1)} µs`;
export const ms = (seconds, digits) => `${(seconds * 1e3).toFixed(digits)} ms`;
