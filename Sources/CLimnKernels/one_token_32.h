// One token times weight rows with a float scale for every 32 columns: the other half of one_token.h.
#pragma once
#include "one_token.h"

#if defined(__x86_64__)
/// Takes 64 columns of a row: bytes as limn_panel_32 has them (q + 128), and the scales of the two groups.
typedef __m512i limn_load_pair(const uint8_t *at, __m512i table, float d[2]);

/// y[r] = Σ over groups, in ascending order, of d · dx · sum.
LIMN_INLINE void finish_one_32(
  const int32_t *sums, const float *d, ptrdiff_t wide, const limn_x_32 *x, ptrdiff_t groups, const float step, int rows,
  float *y) {
  v16f total = v_splat(0);
  for (ptrdiff_t start = 0; start < groups; start += 16) {
    v16i sum[16], scale[16];
    v_load_columns(sums + start, wide, sum);
    v_load_columns((const int32_t *)d + start, wide, scale);
    const int part = groups - start < 16 ? (int)(groups - start) : 16;
    for (int i = 0; i < part; i++) {
      const ptrdiff_t g = start + i;
      total = v_fma((v16f)scale[i] * step * x[g / 8].d[g % 8], __builtin_convertvector(sum[i], v16f), total);
    }
  }
  v_store_part(y, total, rows);
}

/// Lanes 0–7 of each of 8 vectors, and lanes 8–15, added up: lane 2i and lane 2i + 1 of the result.
LIMN_TARGET_VNNI LIMN_INLINE __m512i sum_halves(const __m512i v[8]) {
  __m512i a[4], b[2];
  LIMN_UNROLL for (int i = 0; i < 4; i++)
    a[i] = _mm512_add_epi32(
      _mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]), _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]));
  LIMN_UNROLL for (int i = 0; i < 2; i++)
    b[i] = _mm512_add_epi32(
      _mm512_unpacklo_epi64(a[2 * i], a[2 * i + 1]), _mm512_unpackhi_epi64(a[2 * i], a[2 * i + 1]));
  const __m512i c =
    _mm512_add_epi32(_mm512_shuffle_i32x4(b[0], b[1], 0x88), _mm512_shuffle_i32x4(b[0], b[1], 0xdd));
  return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7, 8, 12, 9, 13, 10, 14, 11, 15), c);
}

/// `pair_bytes` are those of 64 columns; scales are multiplied by `step` first, as unpacking does.
LIMN_TARGET_VNNI LIMN_INLINE void multiply_one_32(
  const void *weight, size_t row_bytes, ptrdiff_t rows, ptrdiff_t columns, const void *prepared, float *y,
  void *scratch, const int pair_bytes, __m512i table, const float step, limn_load_pair *load) {
  const limn_x_32 *x = prepared;
  const ptrdiff_t pairs = columns / 64, wide = (columns / 32 + 15) & ~(ptrdiff_t)15;
  int32_t *sums = scratch;                       // [row][group], `wide` groups apart
  float *d = (float *)(sums + 16 * wide);        // the same
  int32_t *offsets = (int32_t *)(d + 16 * wide);  // [group]: 128 · Σ x
  for (ptrdiff_t g = 0; g < columns / 32; g++) offsets[g] = 128 * x[g / 8].sums[g % 8];

  for (ptrdiff_t first = 0; first < rows; first += 16) {
    const int count = rows - first < 16 ? (int)(rows - first) : 16;
    for (int r = 0; r < count; r++) {
      const uint8_t *at = (const uint8_t *)weight + (size_t)(first + r) * row_bytes;
      for (ptrdiff_t start = 0; start < pairs; start += 8) {
        const int part = pairs - start < 8 ? (int)(pairs - start) : 8;
        const limn_x_32 *xs = x + start / 4;
        float *ds = d + r * wide + 2 * start;
        __m512i sum[8];
        if (part == 8) {  // without a loop, so that the sums stay in registers
          LIMN_UNROLL for (int i = 0; i < 8 * pair_bytes; i += 64)
            _mm_prefetch((const char *)at + LIMN_FETCH_AHEAD + i, _MM_HINT_T0);
          LIMN_UNROLL for (int i = 0; i < 8; i++)
            sum[i] = _mm512_dpbusd_epi32(
              _mm512_setzero_si512(), load(at + i * pair_bytes, table, ds + 2 * i),
              _mm512_loadu_si512(xs[i / 4].q + i % 4 * 64));
          at += 8 * pair_bytes;
        } else {
          LIMN_UNROLL for (int i = 0; i < 8; i++) sum[i] = _mm512_setzero_si512();
          for (int i = 0; i < part; i++, at += pair_bytes)
            sum[i] = _mm512_dpbusd_epi32(
              _mm512_setzero_si512(), load(at, table, ds + 2 * i), _mm512_loadu_si512(xs[i / 4].q + i % 4 * 64));
        }
        const __m512i offset = _mm512_maskz_loadu_epi32((__mmask16)((1u << 2 * part) - 1), offsets + 2 * start);
        _mm512_storeu_si512(sums + r * wide + 2 * start, _mm512_sub_epi32(sum_halves(sum), offset));
      }
    }
    finish_one_32(sums, d, wide, x, 2 * pairs, step, count, y + first);
  }
}

// MARK: AVX2

/// Takes 64 columns of a row: signed numbers, and the scales of the two groups.
typedef void limn_load_groups(const uint8_t *at, __m256i table, float d[2], __m256i groups[2]);

/// Lanes that add up to Σ w · x of 32 columns: |w| · ±x, whose pairs stay within 16 bits (128 · 127 · 2 = 32,512).
LIMN_TARGET_AVX2 LIMN_INLINE __m256i dot_32_avx2(__m256i w, const int8_t *x) {
  const __m256i signs = _mm256_sign_epi8(_mm256_loadu_si256((const __m256i *)x), w);
  return _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8(w), signs), _mm256_set1_epi16(1));
}

LIMN_TARGET_AVX2 LIMN_INLINE void multiply_one_32_avx2(
  const void *weight, size_t row_bytes, ptrdiff_t rows, ptrdiff_t columns, const void *prepared, float *y,
  void *scratch, const int pair_bytes, __m256i table, const float step, limn_load_groups *load) {
  const limn_x_32 *x = prepared;
  const ptrdiff_t pairs = columns / 64, wide = (columns / 32 + 15) & ~(ptrdiff_t)15;
  int32_t *sums = scratch;                 // [row][group], `wide` groups apart
  float *d = (float *)(sums + 16 * wide);  // the same

  for (ptrdiff_t first = 0; first < rows; first += 16) {
    const int count = rows - first < 16 ? (int)(rows - first) : 16;
    for (int r = 0; r < count; r++) {
      const uint8_t *at = (const uint8_t *)weight + (size_t)(first + r) * row_bytes;
      for (ptrdiff_t start = 0; start < pairs; start += 4, at += 4 * pair_bytes) {
        const limn_x_32 *xs = x + start / 4;
        const int part = pairs - start < 4 ? (int)(pairs - start) : 4;
        const ptrdiff_t place = r * wide + 2 * start;
        __m256i sum[8];
        LIMN_UNROLL for (int i = 0; i < 4; i++) {
          if (i < part) {
            __m256i groups[2];
            load(at + i * pair_bytes, table, d + place + 2 * i, groups);
            sum[2 * i] = dot_32_avx2(groups[0], xs->q + i * 64);
            sum[2 * i + 1] = dot_32_avx2(groups[1], xs->q + i * 64 + 32);
          } else {
            sum[2 * i] = sum[2 * i + 1] = _mm256_setzero_si256();
          }
        }
        fetch_avx2(at, 4 * pair_bytes);
        _mm256_storeu_si256((__m256i *)(sums + place), sum_lanes_avx2(sum));
      }
    }
    finish_one_32(sums, d, wide, x, 2 * pairs, step, count, y + first);
  }
}
#endif
