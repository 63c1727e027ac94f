// bitsandbytes' formats NF4, FP4 and LLM.int8, in blocks of 64 columns. Files keep codes and scales apart; limn joins
// them when it opens a model (bitsandbytes_pack.c), so that a row is a sequence of blocks, as in ggml's formats.
//
//   NF4, FP4   bytes 0–3   d, float32
//              bytes 4–35  q: byte i holds column i (low nibble) and column i + 32 (high)      weight = table[q] · d
//   LLM.int8   bytes 0–3   d, float32, the row's largest magnitude
//              bytes 4–67  q, 64 signed bytes                                                   weight = q · d / 127
//
// A 4-bit format includes the type of the checkpoint that was quantised: values are rounded to it before use.
#include "kernels.h"
#include "simd.h"
#include "bitsandbytes.h"
#include "products/few_tokens_32.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

// The library's own values: quantiles of a normal distribution (NF4), and floats of 1 + 2 + 1 bits divided by 12 (FP4).
const float limn_4bit_tables[2][16] = {
  {-0x1p+0f, -0x1.647362p-1f, -0x1.0cd66p-1f, -0x1.94654p-2f, -0x1.23449ap-2f, -0x1.7a6a7ep-3f, -0x1.74f0e2p-4f, 0,
   0x1.45f5fep-4f, 0x1.4995c6p-3f, 0x1.f809bap-3f, 0x1.5a0674p-2f, 0x1.c3497p-2f, 0x1.200f56p-1f, 0x1.722766p-1f,
   0x1p+0f},
  {0, 0x1.555556p-8f, 0x1.555556p-1f, 1, 0x1.555556p-2f, 0.5f, 0x1.555556p-3f, 0.25f, 0, -0x1.555556p-8f,
   -0x1.555556p-1f, -1, -0x1.555556p-2f, -0.5f, -0x1.555556p-3f, -0.25f},
};

// The tables for integer products: bytes around 128, table · steps rounded. Of all steps up to 127, 112 come closest to
// NF4's values; 120 give all of FP4's exactly but the smallest.
static const float steps[2] = {112, 120};
static const uint8_t bytes[2][16] = {
  {16, 50, 69, 84, 96, 107, 118, 128, 137, 146, 156, 166, 177, 191, 209, 240},
  {128, 129, 208, 248, 168, 188, 148, 158, 128, 127, 48, 8, 88, 68, 108, 98},
};

// MARK: float32

/// A 4-bit block has only 16 different values: compute and round each once, then look them up.
LIMN_INLINE void dequantize_4bit(const void *blocks, float *values, int columns, const int code, const limn_type as) {
  const limn_block_4bit *b = blocks;
  for (int k = 0; k < columns; k += 64, b++) {
    float value[16];
    for (int i = 0; i < 16; i++) value[i] = limn_rounded(limn_4bit_tables[code][i] * b->d, as);
    for (int i = 0; i < 32; i++) {
      values[k + i] = value[b->q[i] & 15];
      values[k + 32 + i] = value[b->q[i] >> 4];
    }
  }
}

static void dequantize_int8(const void *blocks, float *values, int columns) {
  const limn_block_int8 *b = blocks;
  for (int k = 0; k < columns; k += 64, b++)
    for (int i = 0; i < 64; i++) values[k + i] = limn_int8_value(b->q[i], b->d);
}

// MARK: int8: the scalar reference

/// Both groups of 32 of a block get its scale. Values are not rounded to the checkpoint's 16-bit type: that rounding is
/// smaller than the one to bytes.
LIMN_INLINE void unpack_4bit(
  const void *weight, size_t row_bytes, int rows, int columns, limn_panel_32 *w, const int code) {
  w->offset = 128;
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    const char *row = (const char *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes;
    const limn_block_4bit *b = (const limn_block_4bit *)row;
    for (int g = 0; g < columns / 32; g += 2, b++) {
      w->d[g][r] = w->d[g + 1][r] = b->d * (1 / steps[code]);
      for (int i = 0; i < 32; i++) {
        w->q[g * 8 + i / 4][r][i % 4] = bytes[code][b->q[i] & 15];
        w->q[g * 8 + 8 + i / 4][r][i % 4] = bytes[code][b->q[i] >> 4];
      }
    }
  }
}

static void unpack_int8_scalar(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)recipe;
  limn_panel_32 *w = panel;
  w->offset = 128;
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) {
    const char *row = (const char *)weight + (size_t)(r < rows ? r : rows - 1) * row_bytes;
    const limn_block_int8 *b = (const limn_block_int8 *)row;
    for (int g = 0; g < columns / 32; g += 2, b++) {
      w->d[g][r] = w->d[g + 1][r] = b->d * (1.0f / 127);
      for (int k = 0; k < 64; k++) w->q[g * 8 + k / 4][r][k % 4] = (uint8_t)(b->q[k] + 128);
    }
  }
}

// MARK: Vectors

LIMN_INLINE v16f scales(const uint8_t *const row[LIMN_PANEL_ROWS], size_t offset) {
  float d[LIMN_PANEL_ROWS];
  for (int r = 0; r < LIMN_PANEL_ROWS; r++) memcpy(d + r, row[r] + offset, sizeof(float));
  return v_load(d);
}

LIMN_INLINE void unpack_int8_body(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)recipe;
  limn_panel_32 *w = panel;
  w->offset = 128;
  const uint8_t *row[LIMN_PANEL_ROWS];
  v_rows(weight, row_bytes, rows, row);
  for (int g = 0; g < columns / 32; g += 2) {
    const size_t at = (size_t)g / 2 * sizeof(limn_block_int8);
    const v16f d = scales(row, at) * (1.0f / 127);
    v_store(w->d[g], d);
    v_store(w->d[g + 1], d);
    v16i q[16];
    LIMN_UNROLL (int r = 0; r < 16; r++)
      q[r] = v_load_bytes(row[r] + at + offsetof(limn_block_int8, q)) ^ (int32_t)0x80808080;
    v_transpose(q);
    LIMN_UNROLL (int i = 0; i < 16; i++) v_store_bytes(w->q[g * 8 + i], q[i]);
  }
}
LIMN_INSTANCES(
  unpack_int8, (const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel),
  (recipe, weight, row_bytes, rows, columns, panel))

#if defined(__x86_64__)
/// Half a block of every row at a time: 4 words, whose low nibbles are columns of the first group of 32. It leaves
/// nibbles in the panel, which look_up_avx2 replaces.
LIMN_INLINE void unpack_nibbles_body(
  const void *weight, size_t row_bytes, int rows, int columns, limn_panel_32 *w, float step) {
  w->offset = 128;
  const uint8_t *row[LIMN_PANEL_ROWS];
  v_rows(weight, row_bytes, rows, row);
  for (int g = 0; g < columns / 32; g += 2) {
    const size_t at = (size_t)g / 2 * sizeof(limn_block_4bit);
    const v16f d = scales(row, at) * step;
    v_store(w->d[g], d);
    v_store(w->d[g + 1], d);
    LIMN_UNROLL (int half = 0; half < 8; half += 4) {
      v16i q[4];
      v_load_words(row, at + offsetof(limn_block_4bit, q) + (size_t)half * 4, q);
      LIMN_UNROLL (int k = 0; k < 4; k++) {
        v_store_bytes(w->q[g * 8 + half + k], q[k] & 0x0f0f0f0f);
        v_store_bytes(w->q[g * 8 + 8 + half + k], q[k] >> 4 & 0x0f0f0f0f);
      }
    }
  }
}
LIMN_TARGET_AVX2 static void unpack_nibbles_avx2(
  const void *weight, size_t row_bytes, int rows, int columns, limn_panel_32 *w, float step) {
  unpack_nibbles_body(weight, row_bytes, rows, columns, w, step);
}

LIMN_TARGET_AVX2 static void look_up_avx2(limn_panel_32 *w, int columns, const uint8_t table[16]) {
  const __m256i all = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)table));
  __m256i *q = (__m256i *)w->q;
  for (int i = 0; i < columns / 2; i++) _mm256_storeu_si256(q + i, _mm256_shuffle_epi8(all, _mm256_loadu_si256(q + i)));
}

/// Half a block of every row, with the look-up included; transposes as `v_load_words` does.
LIMN_TARGET_AVX512 LIMN_INLINE void unpack_half_avx512(
  const uint8_t *const row[LIMN_PANEL_ROWS], size_t offset, __m512i table, uint8_t (*low)[LIMN_PANEL_ROWS][4],
  uint8_t (*high)[LIMN_PANEL_ROWS][4]) {
  __m512i r[4];
  LIMN_UNROLL (int i = 0; i < 4; i++) {
    r[i] = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(row[i] + offset)));
    r[i] = _mm512_inserti32x4(r[i], _mm_loadu_si128((const __m128i *)(row[i + 4] + offset)), 1);
    r[i] = _mm512_inserti32x4(r[i], _mm_loadu_si128((const __m128i *)(row[i + 8] + offset)), 2);
    r[i] = _mm512_inserti32x4(r[i], _mm_loadu_si128((const __m128i *)(row[i + 12] + offset)), 3);
  }
  const __m512i a = _mm512_unpacklo_epi32(r[0], r[1]), b = _mm512_unpackhi_epi32(r[0], r[1]);
  const __m512i c = _mm512_unpacklo_epi32(r[2], r[3]), d = _mm512_unpackhi_epi32(r[2], r[3]);
  const __m512i words[4] = {
    _mm512_unpacklo_epi64(a, c), _mm512_unpackhi_epi64(a, c), _mm512_unpacklo_epi64(b, d), _mm512_unpackhi_epi64(b, d)};
  const __m512i nibble = _mm512_set1_epi8(15);
  LIMN_UNROLL (int k = 0; k < 4; k++) {
    const __m512i q = words[k];
    _mm512_storeu_si512(low[k], _mm512_shuffle_epi8(table, _mm512_and_si512(q, nibble)));
    _mm512_storeu_si512(high[k], _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srli_epi32(q, 4), nibble)));
  }
}

LIMN_TARGET_AVX512 static void unpack_4bit_avx512(
  const void *weight, size_t row_bytes, int rows, int columns, limn_panel_32 *w, float step,
  const uint8_t bytes_of[16]) {
  const __m512i table = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)bytes_of));
  w->offset = 128;
  const uint8_t *row[LIMN_PANEL_ROWS];
  v_rows(weight, row_bytes, rows, row);
  for (int g = 0; g < columns / 32; g += 2) {
    const size_t at = (size_t)g / 2 * sizeof(limn_block_4bit);
    float d[LIMN_PANEL_ROWS];
    LIMN_UNROLL (int r = 0; r < LIMN_PANEL_ROWS; r++) memcpy(d + r, row[r] + at, sizeof(float));
    const __m512 scaled = _mm512_mul_ps(_mm512_loadu_ps(d), _mm512_set1_ps(step));
    _mm512_storeu_ps(w->d[g], scaled);
    _mm512_storeu_ps(w->d[g + 1], scaled);
    const size_t q = at + offsetof(limn_block_4bit, q);
    unpack_half_avx512(row, q, table, w->q + g * 8, w->q + g * 8 + 8);
    unpack_half_avx512(row, q + 16, table, w->q + g * 8 + 4, w->q + g * 8 + 12);
  }
}

LIMN_TARGET_AVX2 static void unpack_4bit_avx2(
  const void *weight, size_t row_bytes, int rows, int columns, limn_panel_32 *w, float step,
  const uint8_t bytes_of[16]) {
  unpack_nibbles_avx2(weight, row_bytes, rows, columns, w, step);
  look_up_avx2(w, columns, bytes_of);
}

#define LIMN_UNPACK_4BIT(name, code, isa)                                                                  \
  static void unpack_##name##_##isa(                                                                       \
    const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) { \
    (void)recipe;                                                                                          \
    unpack_4bit_##isa(weight, row_bytes, rows, columns, panel, 1 / steps[code], bytes[code]);              \
  }
LIMN_UNPACK_4BIT(nf4, 0, avx2)
LIMN_UNPACK_4BIT(fp4, 1, avx2)
LIMN_UNPACK_4BIT(nf4, 0, avx512)
LIMN_UNPACK_4BIT(fp4, 1, avx512)
#endif

#if defined(__x86_64__)
// MARK: Few tokens

LIMN_INLINE void scales_of_64(const uint8_t *at, size_t block_bytes, int groups, int32_t *d) {
  LIMN_UNROLL (int g = 0; g < 8; g++)
    if (g < groups) d[g] = (int32_t)load_u32(at + (size_t)(g / 2) * block_bytes);
}
LIMN_INLINE void scales_4bit(const uint8_t *at, int groups, int32_t *d) {
  scales_of_64(at, sizeof(limn_block_4bit), groups, d);
}
LIMN_INLINE void scales_int8(const uint8_t *at, int groups, int32_t *d) {
  scales_of_64(at, sizeof(limn_block_int8), groups, d);
}

LIMN_TARGET_VNNI LIMN_INLINE __m512i load_4bit(const uint8_t *at, __m512i table, int32_t d[2]) {
  scales_4bit(at, 2, d);
  const __m512i both = _mm512_broadcast_i64x4(_mm256_loadu_si256((const __m256i *)(at + offsetof(limn_block_4bit, q))));
  const __m512i shift = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(4), 1);
  return _mm512_shuffle_epi8(table, _mm512_and_si512(_mm512_srlv_epi16(both, shift), _mm512_set1_epi8(15)));
}
LIMN_TARGET_VNNI LIMN_INLINE __m512i load_int8(const uint8_t *at, __m512i table, int32_t d[2]) {
  scales_int8(at, 2, d);
  return _mm512_xor_si512(_mm512_loadu_si512(at + offsetof(limn_block_int8, q)), table);
}

#define LIMN_ONE(name, block, table, step, load)                                 \
  LIMN_TARGET_VNNI static void one_##name##_vnni(const limn_few_job *j) {        \
    multiply_one_32(j, sizeof(block), 128, table, LIMN_SCALE_FLOAT, step, load); \
  }
#define LIMN_TABLE(code) _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)bytes[code]))
LIMN_ONE(nf4, limn_block_4bit, LIMN_TABLE(0), 1 / steps[0], load_4bit)
LIMN_ONE(fp4, limn_block_4bit, LIMN_TABLE(1), 1 / steps[1], load_4bit)
LIMN_ONE(int8, limn_block_int8, _mm512_set1_epi8((char)0x80), 1.0f / 127, load_int8)

LIMN_TARGET_AVX2 LIMN_INLINE __m256i part_4bit(const uint8_t *at, int g, __m256i table) {
  const __m256i q = _mm256_loadu_si256((const __m256i *)((const limn_block_4bit *)at)[g / 2].q);
  const __m256i number = _mm256_and_si256(g % 2 ? _mm256_srli_epi16(q, 4) : q, _mm256_set1_epi8(15));
  return _mm256_shuffle_epi8(table, number);
}
LIMN_TARGET_AVX2 LIMN_INLINE __m256i part_int8(const uint8_t *at, int g, __m256i table) {
  (void)table;
  return _mm256_loadu_si256((const __m256i *)(((const limn_block_int8 *)at)[g / 2].q + g % 2 * 32));
}

/// The table's bytes minus their offset of 128.
#define LIMN_SIGNED_TABLE(code) \
  _mm256_broadcastsi128_si256(_mm_xor_si128(_mm_loadu_si128((const __m128i *)bytes[code]), _mm_set1_epi8((char)0x80)))
LIMN_FEW_32_AVX2(
  few_nf4_avx2, 3, LIMN_SIGNED_TABLE(0), .bytes = 4 * sizeof(limn_block_4bit), .largest_q = 127, .is_signed = 1,
  .kind = LIMN_SCALE_FLOAT, .step = 1 / steps[0], .part = part_4bit, .scales = scales_4bit)
LIMN_FEW_32_AVX2(
  few_fp4_avx2, 3, LIMN_SIGNED_TABLE(1), .bytes = 4 * sizeof(limn_block_4bit), .largest_q = 127, .is_signed = 1,
  .kind = LIMN_SCALE_FLOAT, .step = 1 / steps[1], .part = part_4bit, .scales = scales_4bit)
LIMN_FEW_32_AVX2(
  few_int8_avx2, 4, _mm256_setzero_si256(), .bytes = 4 * sizeof(limn_block_int8), .largest_q = 128, .is_signed = 1,
  .kind = LIMN_SCALE_FLOAT, .step = 1.0f / 127, .part = part_int8, .scales = scales_int8)
#endif

// MARK: The recipes

static void unpack_nf4_scalar(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)recipe;
  unpack_4bit(weight, row_bytes, rows, columns, panel, 0);
}

static void unpack_fp4_scalar(
  const limn_recipe *recipe, const void *weight, size_t row_bytes, int rows, int columns, void *panel) {
  (void)recipe;
  unpack_4bit(weight, row_bytes, rows, columns, panel, 1);
}

LIMN_INLINE int recipe_4bit(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic, const int code) {
  if (arithmetic == LIMN_FLOAT32) {
    limn_products_float32(recipe, isa);
    return 1;
  }
  limn_products_int8_32(recipe, isa, 255);
  const int is_nf4 = code == 0;
  recipe->unpack = is_nf4 ? unpack_nf4_scalar : unpack_fp4_scalar;
#if defined(__x86_64__)
  if (isa == LIMN_AVX2) recipe->unpack = is_nf4 ? unpack_nf4_avx2 : unpack_fp4_avx2;
  if (isa == LIMN_AVX512) recipe->unpack = is_nf4 ? unpack_nf4_avx512 : unpack_fp4_avx512;
  if (is_nf4)
    LIMN_TAKE_FEW(recipe, isa, few_nf4_avx2, one_nf4_vnni);
  else
    LIMN_TAKE_FEW(recipe, isa, few_fp4_avx2, one_fp4_vnni);
#endif
  if (arithmetic == LIMN_INT16) return limn_products_int16_of_32(recipe, isa);
  return arithmetic == LIMN_INT8;
}

#define LIMN_RECIPE_4BIT(name, code, as)                                                  \
  static void dequantize_##name(const void *blocks, float *values, int columns) {         \
    dequantize_4bit(blocks, values, columns, code, as);                                   \
  }                                                                                       \
  int limn_recipe_##name(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) { \
    recipe->dequantize = dequantize_##name;                                               \
    return recipe_4bit(recipe, isa, arithmetic, code);                                    \
  }
LIMN_RECIPE_4BIT(nf4, 0, LIMN_F32)
LIMN_RECIPE_4BIT(nf4_f16, 0, LIMN_F16)
LIMN_RECIPE_4BIT(nf4_bf16, 0, LIMN_BF16)
LIMN_RECIPE_4BIT(fp4, 1, LIMN_F32)
LIMN_RECIPE_4BIT(fp4_f16, 1, LIMN_F16)
LIMN_RECIPE_4BIT(fp4_bf16, 1, LIMN_BF16)

int limn_recipe_llm_int8(limn_recipe *recipe, limn_isa isa, limn_arithmetic arithmetic) {
  recipe->dequantize = dequantize_int8;
  if (arithmetic == LIMN_FLOAT32) {
    limn_products_float32(recipe, isa);
    return 1;
  }
  limn_products_int8_32(recipe, isa, 255);
  recipe->unpack = LIMN_PICK(isa, unpack_int8);
#if defined(__x86_64__)
  LIMN_TAKE_FEW(recipe, isa, few_int8_avx2, one_int8_vnni);
#endif
  if (arithmetic == LIMN_INT16) return limn_products_int16_of_32(recipe, isa);
  return arithmetic == LIMN_INT8;
}
