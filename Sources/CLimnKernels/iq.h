// What the IQ formats share. They cut weights into runs of 8 (or 4), and for each run name a point of a *grid*, a
// table of the runs that quantisation allows. A point's digits are a 16-bit code, the first weight's lowest; most
// formats keep the eight signs apart.
#pragma once
#include "simd.h"

extern const uint16_t limn_grid_iq2_xxs[256], limn_grid_iq2_xs[512], limn_grid_iq2_s[1024];  // IQ2: 8, 25 or 43
extern const uint16_t limn_grid_iq3_xxs[256];  // 4, 12, 20, 28, 36, 44, 52 or 62
extern const uint16_t limn_grid_iq3_s[512];    // odd numbers up to 15
extern const uint16_t limn_grid_iq1_s[2048];   // −1, 0 or 1

LIMN_INLINE uint32_t load_u32(const void *p) {
  uint32_t value;
  memcpy(&value, p, 4);
  return value;
}

/// Eight digits of 2 bits, a byte each.
LIMN_INLINE uint64_t eight_digits(uint16_t code) {
  uint64_t x = code;
  x = (x | x << 24) & 0x000000ff000000ff;
  x = (x | x << 12) & 0x000f000f000f000f;
  return (x | x << 6) & 0x0303030303030303;
}

/// Four digits of 4 bits of each of two codes, a byte each.
LIMN_INLINE uint64_t four_digits(uint16_t low, uint16_t high) {
  uint64_t x = low | (uint64_t)high << 32;
  x = (x | x << 8) & 0x00ff00ff00ff00ff;
  return (x | x << 4) & 0x0f0f0f0f0f0f0f0f;
}

/// The bytes 8, 25 and 43 for the digits 0, 1 and 2.
LIMN_INLINE uint64_t iq2_values(uint16_t code) {
  const uint64_t digits = eight_digits(code);
  return 0x0808080808080808 + 17 * digits + (digits >> 1 & 0x0101010101010101);
}

/// The sign of the eighth weight is not stored: an even number of the eight are negative.
LIMN_INLINE uint8_t eight_signs(uint32_t seven) {
  const uint32_t bits = seven & 127;
  return (uint8_t)(bits | (uint32_t)__builtin_parity(bits) << 7);
}

/// out[i] = ±scale · byte i of `magnitudes`, negative where bit i is set.
LIMN_INLINE void store_eight(float *out, float scale, uint64_t magnitudes, uint8_t signs) {
  uint8_t q[8];
  memcpy(q, &magnitudes, 8);
  for (int i = 0; i < 8; i++) {
    const float value = scale * (float)q[i];
    out[i] = float_from_bits(bits_from_float(value) ^ (uint32_t)(signs >> i & 1) << 31);
  }
}

/// IQ1: out[i] = scale · (digit i − 1 ± 1/8).
LIMN_INLINE void store_eight_shifted(float *out, float scale, uint16_t code, int negative) {
  const uint64_t digits = eight_digits(code);
  const float shift = negative ? -1.125f : -0.875f;
  uint8_t q[8];
  memcpy(q, &digits, 8);
  for (int i = 0; i < 8; i++) out[i] = scale * ((float)q[i] + shift);
}
