// Q8_0: blocks of 32 weights.
//
//   bytes  0–1   d, float16
//   bytes  2–33  q, 32 signed bytes                      weight = q · d
#include "kernels.h"
#include "simd.h"

typedef struct {
  uint8_t d[2];
  int8_t q[32];
} block;
_Static_assert(sizeof(block) == 34, "Q8_0 block");

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int k = 0; k < columns; k += 32, b++) {
    const float d = float_from_half(load_u16(b->d));
    for (int i = 0; i < 32; i++) values[k + i] = (float)b->q[i] * d;
  }
}

LIMN_INLINE void dequantize_body(const void *blocks, float *values, int columns) {
  dequantize_scalar(blocks, values, columns);
}
LIMN_INSTANCES(dequantize, (const void *blocks, float *values, int columns), (blocks, values, columns))

/// The panel's bytes are unsigned: q + 128.
static void unpack_scalar(
  const limn_path *path, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)path;
  limn_panel_32 *w = panel;
  w->offset = 128;
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    const block *b = (const block *)((const char *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes);
    for (int g = 0; g < columns / 32; g++, b++) {
      w->d[g][r] = float_from_half(load_u16(b->d));
      for (int k = 0; k < 32; k++) w->q[g * 8 + k / 4][r][k % 4] = (uint8_t)(b->q[k] + 128);
    }
  }
}

int limn_path_q8_0(limn_path *path, limn_isa isa, limn_arithmetic arithmetic) {
  path->weight_bytes = LIMN_BLOCK / 32 * sizeof(block);
  path->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_FLOAT32) {
    limn_products_float32(path, isa);
    return 1;
  }
  limn_products_int8_32(path, isa);
  path->unpack = unpack_scalar;
  return arithmetic == LIMN_INT8;
}
