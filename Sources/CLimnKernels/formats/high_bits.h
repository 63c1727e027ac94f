// The 5-bit numbers of Q5_0 and Q5_1: a 32-bit word holds the high bits of 32 weights, 16 bytes hold the low 4 bits.
#pragma once
#include "simd.h"

/// Writes one group of 32 columns of 16 rows to a panel's [column / 4][row][4].
LIMN_INLINE void v_store_five_bits(
  const uint8_t *const row[LIMN_PANEL_ROWS], size_t high_offset, size_t low_offset, uint8_t (*q)[LIMN_PANEL_ROWS][4]) {
  v16i low[4], high;
  LIMN_UNROLL (int r = 0; r < 16; r++) high[r] = (int32_t)load_u32(row[r] + high_offset);
  v_load_words(row, low_offset, low);
  LIMN_UNROLL (int k = 0; k < 8; k++) {
    // Moves bit i of `four` to bit 8i: the product adds four copies that are 7 bits apart and never overlap.
    const v16i four = high >> 4 * k & 15, top = (four * 0x00204081 & 0x01010101) << 4;
    v_store_bytes(q[k], (low[k % 4] >> k / 4 * 4 & 0x0f0f0f0f) | top);
  }
}
