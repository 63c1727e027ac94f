// TQ1_0: super-blocks of 256 weights of −1, 0 or 1; five of them share a byte.
//
//   bytes   0–31  byte i: weights i, i+32, i+64, i+96, i+128
//   bytes  32–47  byte 32 + i: weights 160 + i, 176 + i, … 224 + i
//   bytes  48–51  byte 48 + i: weights 240 + i, 244 + i, 248 + i, 252 + i
//   bytes  52–53  d, float16
//
// byte / 256 is a fraction in base 3: the integer part of byte · 3 / 256 is its first digit, and what remains is the
// next fraction.
//
//   weight = d · (digit − 1)
#include "kernels.h"
#include "simd.h"

typedef struct {
  uint8_t q[52];
  uint8_t d[2];
} block;
_Static_assert(sizeof(block) == LIMN_TQ1_0_BYTES, "TQ1_0 block");

/// The digit of weight k: its byte, and its place in the byte.
LIMN_INLINE int q_of(const block *b, int k) {
  const int i = k < 160 ? k % 32 : k < 240 ? 32 + k % 16 : 48 + k % 4;
  const int place = k < 160 ? k / 32 : k < 240 ? (k - 160) / 16 : (k - 240) / 4;
  static const uint8_t powers[5] = {1, 3, 9, 27, 81};
  return (uint8_t)(b->q[i] * powers[place]) * 3 >> 8;
}

static void dequantize_scalar(const void *blocks, float *values, int columns) {
  const block *b = blocks;
  for (int start = 0; start < columns; start += LIMN_BLOCK, b++) {
    const float d = float_from_half(load_u16(b->d));
    for (int k = 0; k < LIMN_BLOCK; k++) values[start + k] = d * (float)(q_of(b, k) - 1);
  }
}

LIMN_INLINE void dequantize_body(const void *blocks, float *values, int columns) {
  dequantize_scalar(blocks, values, columns);
}
LIMN_INSTANCES(dequantize, (const void *blocks, float *values, int columns), (blocks, values, columns))

/// The offset of 1 is written as a minimum, as in Q6_K. All scales are 1.
static void unpack_scalar(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)recipe, (void)columns;
  limn_panel_k *w = panel;
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    const block *b = (const block *)((const char *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes);
    w->d[r] = w->dmin[r] = float_from_half(load_u16(b->d));
    for (int g = 0; g < 8; g++) w->scale[g][r] = w->min[g / 2][r][g % 2] = 1;
    for (int k = 0; k < LIMN_BLOCK; k++) w->q[k / 4][r][k % 4] = (uint8_t)q_of(b, k);
  }
}

/// Writes the first digits of `count` words of 16 rows, then their second digits, and so on.
LIMN_INLINE void v_store_digits(const v16i *words, int count, int digits, uint8_t (*q)[LIMN_PANEL_ROWS][4]) {
  LIMN_UNROLL (int i = 0; i < count; i++) {
    v16i even = words[i] & 0xff00ff,
         odd = words[i] >> 8 & 0xff00ff;  // 16 bits for each byte: room for three times its value
    LIMN_UNROLL (int n = 0; n < digits; n++) {
      even *= 3;
      odd *= 3;
      v_store_bytes(q[n * count + i], (even >> 8 & 0x30003) | (odd & 0x3000300));
      even &= 0xff00ff;
      odd &= 0xff00ff;
    }
  }
}

LIMN_INLINE void unpack_body(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)recipe, (void)columns;
  limn_panel_k *w = panel;
  const uint8_t *row[LIMN_PANEL_ROWS];
  v_rows(weight, row_bytes, rows, row);
  const v16f d = v_load_halves(row, offsetof(block, d));
  v_store(w->d, d);
  v_store(w->dmin, d);
  LIMN_UNROLL (int g = 0; g < 8; g++) v_store_bytes(w->scale[g], (v16i){0} + 1);
  LIMN_UNROLL (int g = 0; g < 4; g++) v_store_bytes(w->min[g], (v16i){0} + 0x10001);

  // The 32 bytes, the 16 bytes, and the last word.
  v16i words[8];
  v_load_words(row, 0, words);
  v_load_words(row, 16, words + 4);
  v_store_digits(words, 8, 5, w->q);
  v_load_words(row, 32, words);
  v_store_digits(words, 4, 5, w->q + 40);
  v_load_words(row, sizeof(block) - 16, words);  // whose last 6 bytes are the word and d
  words[0] = (words[2] >> 16 & 0xffff) | words[3] << 16;
  v_store_digits(words, 1, 4, w->q + 60);
}
LIMN_INSTANCES(
  unpack, (const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel),
  (recipe, weight, row_bytes, rows, columns, panel))

int limn_recipe_tq1_0(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) {
  recipe->dequantize = LIMN_PICK(isa, dequantize);
  if (arithmetic == LIMN_FLOAT32) {
    limn_products_float32(recipe, isa);
    return 1;
  }
  limn_products_int8_k(recipe, isa, 32, 2);
  recipe->unpack = LIMN_PICK(isa, unpack);
  if (arithmetic == LIMN_INT8_32) return limn_products_int8_k_32(recipe, isa, 32, 2);
  return arithmetic == LIMN_INT8;
}
