// Shared by the IQ formats. They cut weights into runs of 8, and for each run (in IQ3, for each half of it) store the
// number of a point in a *grid*: a table of the runs that quantisation allows. A point is a code of 8 or 4 digits, the
// first weight's lowest.
//
//   weight = (d · unit) · scale · value      d a float16, scale odd and below 32, value a signed byte
//
// `unit` (1, 1/4 or 1/8) is chosen so that scale and value are integers. A weight then has at most 11 + 5 + 6
// significant bits, so float32 holds it exactly, whatever the order of the products.
#pragma once
#include "kernels.h"
#include "simd.h"

extern const uint16_t limn_grid_iq2_xxs[256], limn_grid_iq2_xs[512], limn_grid_iq2_s[1024];  // 8 digits of 2 bits
extern const uint16_t limn_grid_iq3_xxs[256], limn_grid_iq3_s[512];                          // 4 digits of 4 bits
extern const uint16_t limn_grid_iq1_s[2048];                                                 // 8 digits of 2 bits

/// The code of eight weights, and their sign bits: 8 of them, or 7 where the eighth is not stored (in IQ1 one for all).
typedef struct {
  uint32_t code, signs;
} iq_run;

/// One run per lane.
typedef uint64_t v8u __attribute__((vector_size(64)));

LIMN_INLINE int iq_signed(int magnitude, uint32_t signs, int i) { return signs >> i & 1 ? -magnitude : magnitude; }

/// The eighth sign bit, which follows from the other seven: an even number of the weights is negative.
LIMN_INLINE uint32_t eighth_sign(uint32_t seven) { return (uint32_t)__builtin_parity(seven) << 7; }
LIMN_INLINE v8u v_eighth_sign(v8u seven) {
  v8u parity = seven ^ seven >> 4;
  parity ^= parity >> 2;
  parity ^= parity >> 1;
  return (parity & 1) << 7;
}

/// The same byte eight times.
LIMN_INLINE uint64_t bytes_of(uint8_t byte) { return 0x0101010101010101 * byte; }

/// Spread eight digits of 2, 4 or 1 bits over bytes.
LIMN_INLINE v8u v_digits_2(v8u x) {
  x = (x | x << 24) & 0x000000ff000000ff;
  x = (x | x << 12) & 0x000f000f000f000f;
  return (x | x << 6) & bytes_of(3);
}
LIMN_INLINE v8u v_digits_4(v8u x) {
  x = (x | x << 16) & 0x0000ffff0000ffff;
  x = (x | x << 8) & 0x00ff00ff00ff00ff;
  return (x | x << 4) & bytes_of(15);
}
LIMN_INLINE v8u v_digits_1(v8u x) {
  x = (x | x << 28) & 0x0000000f0000000f;
  x = (x | x << 14) & 0x0003000300030003;
  return (x | x << 7) & bytes_of(1);
}

/// offset ± magnitude in each byte. Magnitudes are at most the offset and below 64, so no byte borrows from the next
/// one.
LIMN_INLINE v8u v_signed(v8u magnitudes, v8u signs, uint8_t offset) {
  const v8u ones = v_digits_1(signs), mask = (ones << 8) - ones;
  return bytes_of(offset) + magnitudes - ((magnitudes & mask) << 1);
}

// IQ2: the digits 0, 1 and 2 stand for 8, 25 and 43.
LIMN_INLINE int iq2_magnitude(uint32_t code, int i) {
  const int digit = code >> 2 * i & 3;
  return 8 + 17 * digit + (digit >> 1);
}
LIMN_INLINE v8u v_iq2_magnitudes(v8u codes) {
  const v8u digits = v_digits_2(codes);
  return bytes_of(8) + digits + (digits << 4) + (digits >> 1 & bytes_of(1));
}

// IQ1: the digits 0, 1 and 2 stand for −1, 0 and 1, plus 1/8, or minus 1/8 where the sign bit is set.
LIMN_INLINE int iq1_eighths(iq_run run, int i) { return 8 * (int)(run.code >> 2 * i & 3) - (run.signs ? 9 : 7); }
LIMN_INLINE v8u v_iq1_eighths(v8u codes, v8u signs) { return (v_digits_2(codes) << 3) + (1 - signs) * bytes_of(2); }
