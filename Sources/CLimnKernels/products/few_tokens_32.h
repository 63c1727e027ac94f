// Decoding for formats with a float scale for every 32 columns: the other half of few_tokens.h.
#pragma once
#include "few_tokens.h"

#if defined(__x86_64__)
/// What is kept of a group's scale, in one 32-bit word.
typedef enum {
  LIMN_SCALE_FLOAT,
  LIMN_SCALE_HALF,         // a float16, in the lower half of the word
  LIMN_SCALE_AND_MINIMUM,  // the scale as before, and the minimum, a float16, in the upper half
} limn_scale_kind;

/// The integer sums of 16 rows, before they are multiplied by floats: [row][group], with `wide` groups from row to row.
typedef struct {
  ptrdiff_t wide;
  int32_t *d;    // as limn_scale_kind says
  int32_t *sum;  // Σ q · x; further tokens follow
} limn_sums_32;

/// Uses 64 bytes of scratch for each group, and 64 more for each token; the number of groups is rounded up to a
/// multiple of 16.
LIMN_INLINE limn_sums_32 sums_32(void *scratch, ptrdiff_t columns) {
  const ptrdiff_t wide = (columns / 32 + 15) & ~(ptrdiff_t)15;
  int32_t *all = scratch;
  return (limn_sums_32){wide, all, all + 16 * wide};
}

// MARK: AVX-512 VNNI

/// Loads 64 columns of a row as bytes q, and what is kept of the scales of their two groups.
typedef __m512i limn_load_pair(const uint8_t *at, __m512i table, int32_t d[2]);

/// For each of two groups, 16 bytes: their low nibbles, followed by their high ones.
LIMN_TARGET_VNNI LIMN_INLINE __m512i two_nibbles(const uint8_t *first, const uint8_t *second) {
  const __m512i both = _mm512_mask_broadcast_i32x4(
    _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)first)), 0xff00, _mm_loadu_si128((const __m128i *)second));
  const __m512i shift = _mm512_setr_epi64(0, 0, 4, 4, 0, 0, 4, 4);
  return _mm512_and_si512(_mm512_srlv_epi64(both, shift), _mm512_set1_epi8(15));
}

/// y[r] = Σ over groups, in ascending order, of d · dx · sum. Scales are multiplied by `step` first, as in unpacking.
LIMN_INLINE void finish_32(
  const limn_sums_32 *sums, const limn_x_32 *x, ptrdiff_t groups, const limn_scale_kind kind, const float step,
  int rows, float *y, limn_ahead *ahead) {
  v16f total = v_splat(0);
  for (ptrdiff_t start = 0; start < groups; start += 16) {
    v16i sum[16], d[16];
    v_load_columns(sums->sum + start, sums->wide, sum);
    v_load_columns(sums->d + start, sums->wide, d);
    const int part = groups - start < 16 ? (int)(groups - start) : 16;
    for (int i = 0; i < part; i++) {
      fetch_late(ahead, 1);
      const ptrdiff_t g = start + i;
      const v16f scale = kind == LIMN_SCALE_FLOAT ? (v16f)d[i] * step : v_float_from_half(d[i] & 0xffff);
      total = v_fma(scale * x[g / 8].d[g % 8], __builtin_convertvector(sum[i], v16f), total);
    }
  }
  v_store_part(y, total, rows);
}

/// Adds up lanes 0–7 of each of 8 vectors, and lanes 8–15, to lanes 2i and 2i + 1 of the result.
LIMN_TARGET_VNNI LIMN_INLINE __m512i sum_halves(const __m512i v[8]) {
  __m512i a[4], b[2];
  LIMN_UNROLL (int i = 0; i < 4; i++)
    a[i] = _mm512_add_epi32(
      _mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]), _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]));
  LIMN_UNROLL (int i = 0; i < 2; i++)
    b[i] = _mm512_add_epi32(
      _mm512_unpacklo_epi64(a[2 * i], a[2 * i + 1]), _mm512_unpackhi_epi64(a[2 * i], a[2 * i + 1]));
  const __m512i c = _mm512_add_epi32(_mm512_shuffle_i32x4(b[0], b[1], 0x88), _mm512_shuffle_i32x4(b[0], b[1], 0xdd));
  return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15), c);
}

/// `pair_bytes` is the size of 64 columns; weights are d · (q − offset).
LIMN_TARGET_VNNI LIMN_INLINE void multiply_one_32(
  const limn_few_job *j, const int pair_bytes, const int offset, __m512i table, const limn_scale_kind kind,
  const float step, limn_load_pair *load) {
  const limn_x_32 *x = j->x;
  const size_t row_bytes = j->row_bytes;
  const ptrdiff_t pairs = j->columns / 64;
  const limn_sums_32 sums = sums_32(j->scratch, j->columns);
  int32_t *offsets = sums.sum + 16 * sums.wide;  // [group]: offset · Σ x
  for (ptrdiff_t g = 0; g < 2 * pairs; g++) offsets[g] = offset * x[g / 8].sums[g % 8];

  limn_ahead ahead = ahead_of(j->weight);
  for (ptrdiff_t first = 0; first < j->rows; first += 16) {
    const int count = j->rows - first < 16 ? (int)(j->rows - first) : 16;
    ahead_until(&ahead, (const char *)j->weight + (size_t)(first + count) * row_bytes);
    for (int r = 0; r < count; r++) {
      const uint8_t *at = (const uint8_t *)j->weight + (size_t)(first + r) * row_bytes;
      for (ptrdiff_t start = 0; start < pairs; start += 8) {
        const int part = pairs - start < 8 ? (int)(pairs - start) : 8;
        const limn_x_32 *xs = x + start / 4;
        const ptrdiff_t place = r * sums.wide + 2 * start;
        __m512i sum[8];
        if (part == 8) {  // unrolled, so that the sums stay in registers
          fetch_lines(&ahead, lines_early(8 * (size_t)pair_bytes));
          LIMN_UNROLL (int i = 0; i < 8; i++)
            sum[i] = _mm512_dpbusd_epi32(
              _mm512_setzero_si512(), load(at + i * pair_bytes, table, sums.d + place + 2 * i),
              _mm512_loadu_si512(xs[i / 4].q + i % 4 * 64));
          at += 8 * pair_bytes;
        } else {
          LIMN_UNROLL (int i = 0; i < 8; i++) sum[i] = _mm512_setzero_si512();
          for (int i = 0; i < part; i++, at += pair_bytes)
            sum[i] = _mm512_dpbusd_epi32(
              _mm512_setzero_si512(), load(at, table, sums.d + place + 2 * i),
              _mm512_loadu_si512(xs[i / 4].q + i % 4 * 64));
        }
        const __m512i low = _mm512_maskz_loadu_epi32((__mmask16)((1u << 2 * part) - 1), offsets + 2 * start);
        _mm512_storeu_si512(sums.sum + place, _mm512_sub_epi32(sum_halves(sum), low));
      }
    }
    finish_32(&sums, x, 2 * pairs, kind, step, count, j->y + first, &ahead);
  }
}

// MARK: AVX2

/// The numbers of one group of 32 columns of a row: group `g` of the eight that begin at `at`.
typedef __m256i limn_part_of_32(const uint8_t *at, int g, __m256i table);

/// What is kept of the scales of the first `groups` of eight groups.
typedef void limn_scales_32(const uint8_t *at, int groups, int32_t *d);

/// What differs between formats.
typedef struct {
  int bytes;      // of 256 columns
  int offset;     // weights are d · (q − offset)
  int largest_q;  // the largest magnitude
  int is_signed;  // whether q are signed bytes
  limn_scale_kind kind;
  float step;  // float scales are multiplied by it first, as in unpacking
  limn_part_of_32 *part;
  limn_scales_32 *scales;
} limn_format_32;

/// Sums of pairs of products q · x. Signed bytes are multiplied as |q| · ±x, so that pairs stay within 16 bits (128 ·
/// 127 · 2 = 32,512).
LIMN_TARGET_AVX2 LIMN_INLINE __m256i pairs_avx2(__m256i q, const int8_t *x, const int is_signed) {
  const __m256i xq = _mm256_loadu_si256((const __m256i *)x);
  if (!is_signed) return _mm256_maddubs_epi16(q, xq);
  const __m256i signs = _mm256_sign_epi8(xq, q);
  return _mm256_maddubs_epi16(_mm256_abs_epi8(q), signs);
}

/// The low nibbles of 16 bytes, followed by their high ones.
LIMN_TARGET_AVX2 LIMN_INLINE __m256i nibbles_avx2(const uint8_t *q) {
  const __m256i both = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)q));
  return _mm256_and_si256(_mm256_srlv_epi64(both, _mm256_setr_epi64x(0, 0, 4, 4)), _mm256_set1_epi8(15));
}

/// 16 in byte i if bit i is set, else 0.
LIMN_TARGET_AVX2 LIMN_INLINE __m256i fifth_bits_avx2(uint32_t bits) {
  const __m256i bytes = _mm256_shuffle_epi8(
    _mm256_set1_epi32((int)bits), _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303));
  const __m256i bit = _mm256_set1_epi64x((long long)0x8040201008040201);
  return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit), _mm256_set1_epi8(16));
}

/// A table of 16 bytes, for looking up nibbles.
LIMN_TARGET_AVX2 LIMN_INLINE __m256i table_avx2(const int8_t values[16]) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)values));
}

/// Adds up the words of each of 8 vectors. As long as sums fit 16 bits (8 products of numbers up to 31), they are
/// packed after each step, so that half as many vectors are left.
LIMN_TARGET_AVX2 LIMN_INLINE __m256i sum_pairs_avx2(const __m256i pairs[8], const int largest_q) {
  const __m256i ones = _mm256_set1_epi16(1);
  __m256i a[8], b[4], c[2];
  LIMN_UNROLL (int i = 0; i < 8; i++) a[i] = _mm256_madd_epi16(pairs[i], ones);
  if (8 * 127 * largest_q > INT16_MAX) return sum_lanes_avx2(a);
  LIMN_UNROLL (int i = 0; i < 4; i++) b[i] = _mm256_madd_epi16(_mm256_packs_epi32(a[2 * i], a[2 * i + 1]), ones);
  LIMN_UNROLL (int i = 0; i < 2; i++) c[i] = _mm256_madd_epi16(_mm256_packs_epi32(b[2 * i], b[2 * i + 1]), ones);
  return _mm256_add_epi32(_mm256_permute2x128_si256(c[0], c[1], 0x20), _mm256_permute2x128_si256(c[0], c[1], 0x31));
}

/// Multiplies the first `groups` of eight groups by T tokens, and stores the sums at `place`.
LIMN_TARGET_AVX2 LIMN_INLINE void multiply_eight_32_avx2(
  const limn_format_32 format, __m256i table, const uint8_t *at, const char *x, size_t x_stride, const int groups,
  const limn_sums_32 *sums, ptrdiff_t place, const int T) {
  __m256i pairs[LIMN_FEW_TOKENS][8];
  LIMN_UNROLL (int g = 0; g < 8; g++) {
    const __m256i q = g < groups ? format.part(at, g, table) : _mm256_setzero_si256();
    LIMN_UNROLL (int t = 0; t < T; t++) {
      const limn_x_32 *xt = (const limn_x_32 *)(x + t * x_stride);
      pairs[t][g] = pairs_avx2(q, xt->q + 32 * g, format.is_signed);
    }
  }
  format.scales(at, groups, sums->d + place);
  LIMN_UNROLL (int t = 0; t < T; t++) {
    const limn_x_32 *xt = (const limn_x_32 *)(x + t * x_stride);
    const __m256i low = _mm256_mullo_epi32(
      _mm256_loadu_si256((const __m256i *)xt->sums), _mm256_set1_epi32(format.offset));
    _mm256_storeu_si256(
      (__m256i *)(sums->sum + t * 16 * sums->wide + place),
      _mm256_sub_epi32(sum_pairs_avx2(pairs[t], format.largest_q), low));
  }
}

/// finish_32 for 8 rows: AVX2 lacks the registers for 16.
LIMN_TARGET_AVX2 LIMN_INLINE void finish_eight_32_avx2(
  const limn_format_32 format, const limn_sums_32 *sums, ptrdiff_t row, const limn_x_32 *x, ptrdiff_t groups,
  float y[8], limn_ahead *ahead) {
  __m256 total = _mm256_setzero_ps();
  for (ptrdiff_t first = 0; first < groups; first += 8, x++) {
    fetch_late(ahead, format.bytes / 128 + 1);
    __m256i sum[8], d[8];
    __m256 scale[8], minimum[8];
    load_columns_avx2(sums->d + row * sums->wide + first, sums->wide, d);
    LIMN_UNROLL (int i = 0; i < 8; i++) {
      const __m256i halves = halves_avx2(d[i]);
      scale[i] = format.kind == LIMN_SCALE_FLOAT ? _mm256_mul_ps(_mm256_castsi256_ps(d[i]), _mm256_set1_ps(format.step))
                                                 : _mm256_cvtph_ps(_mm256_castsi256_si128(halves));
      scale[i] = _mm256_mul_ps(scale[i], _mm256_broadcast_ss(x->d + i));
      if (format.kind == LIMN_SCALE_AND_MINIMUM) minimum[i] = _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1));
    }
    load_columns_avx2(sums->sum + row * sums->wide + first, sums->wide, sum);
    LIMN_UNROLL (int i = 0; i < 8; i++) {
      if (first + i >= groups) break;
      total = _mm256_fmadd_ps(scale[i], _mm256_cvtepi32_ps(sum[i]), total);
      if (format.kind == LIMN_SCALE_AND_MINIMUM)
        total = _mm256_fmadd_ps(minimum[i], _mm256_set1_ps(x->d[i] * (float)x->sums[i]), total);
    }
  }
  _mm256_storeu_ps(y, total);
}

/// Like finish_few_k_avx2.
LIMN_TARGET_AVX2 LIMN_INLINE limn_ahead finish_few_32_avx2(
  const limn_few_job *j, const limn_format_32 format, const limn_sums_32 sums, ptrdiff_t first, int rows,
  limn_ahead ahead) {
  for (ptrdiff_t t = 0; t < j->tokens; t++) {
    const limn_sums_32 its = {sums.wide, sums.d, sums.sum + t * 16 * sums.wide};
    const limn_x_32 *x = (const limn_x_32 *)((const char *)j->x + (size_t)t * j->x_stride);
    float y[16];
    for (int row = 0; row < rows; row += 8)
      finish_eight_32_avx2(format, &its, row, x, j->columns / 32, y + row, &ahead);
    memcpy(j->y + t * j->y_stride + first, y, (size_t)rows * sizeof *y);
  }
  return ahead;
}
typedef limn_ahead limn_finish_32(
  const limn_few_job *j, const limn_sums_32 sums, ptrdiff_t first, int rows, limn_ahead ahead);

LIMN_TARGET_AVX2 LIMN_INLINE void multiply_few_32_avx2(
  const limn_few_job *j, const limn_format_32 format, __m256i table, limn_finish_32 *finish, const int T) {
  const char *x = j->x;
  const size_t row_bytes = j->row_bytes, x_stride = j->x_stride;
  const ptrdiff_t eights = j->columns / LIMN_BLOCK, groups = j->columns / 32;
  const int lines = lines_early(4 * (size_t)format.bytes);  // for four times eight groups
  const limn_sums_32 sums = sums_32(j->scratch, j->columns);
  limn_ahead ahead = ahead_of(j->weight);
  for (ptrdiff_t first = 0; first < j->rows; first += 16) {
    const uint8_t *row = (const uint8_t *)j->weight + (size_t)first * row_bytes;
    const int count = j->rows - first < 16 ? (int)(j->rows - first) : 16;
    ahead_until(&ahead, row + (size_t)count * row_bytes);
    for (int r = 0; r < count; r++, row += row_bytes) {
      const uint8_t *at = row;
      const char *xb = x;
      ptrdiff_t place = r * sums.wide, b = 0;
      for (; b + 4 <= eights; b += 4)
        LIMN_UNROLL (int i = 0; i < 4; i++, at += format.bytes, xb += sizeof(limn_x_32), place += 8) {
          fetch_lines(&ahead, (i + 1) * lines / 4 - i * lines / 4);
          multiply_eight_32_avx2(format, table, at, xb, x_stride, 8, &sums, place, T);
        }
      for (; 8 * b < groups; b++, at += format.bytes, xb += sizeof(limn_x_32), place += 8) {
        fetch_lines(&ahead, lines_early((size_t)format.bytes));
        const int left = groups - 8 * b < 8 ? (int)(groups - 8 * b) : 8;
        multiply_eight_32_avx2(format, table, at, xb, x_stride, left, &sums, place, T);
      }
    }
    ahead = finish(j, sums, first, count, ahead);
  }
}

/// Defines the function of a format: the most tokens, the table for looking up numbers, and the fields of
/// limn_format_32.
#define LIMN_FEW_32_AVX2(name, most, table, ...)                                                   \
  LIMN_TARGET_AVX2 LIMN_APART static limn_ahead name##_finish(                                     \
    const limn_few_job *j, const limn_sums_32 sums, ptrdiff_t first, int rows, limn_ahead ahead) { \
    return finish_few_32_avx2(j, (limn_format_32){__VA_ARGS__}, sums, first, rows, ahead);         \
  }                                                                                                \
  LIMN_FEW_AVX2(name, most, multiply_few_32_avx2, ((limn_format_32){__VA_ARGS__}), table, name##_finish)

/// The `scales` of a format whose groups are blocks that begin with `d`; `load` reads it.
#define LIMN_SCALES_OF_BLOCKS(load)                                       \
  LIMN_INLINE void scales_of(const uint8_t *at, int groups, int32_t *d) { \
    LIMN_UNROLL (int g = 0; g < 8; g++)                                   \
      if (g < groups) d[g] = (int32_t)load(((const block *)at)[g].d);     \
  }
#endif
