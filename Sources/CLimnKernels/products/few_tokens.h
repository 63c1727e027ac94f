// Decoding: few tokens times weight rows. Rows are read one after another in memory order, and only the sums are
// transposed. The results have the bits of the panels' products: integers are exact in any order, and the floats of a
// row are added block by block in ascending order in both.
#pragma once
#include "kernels.h"
#include "avx2.h"
#include "simd.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum {
  LIMN_FETCH_AHEAD = 4096,  // bytes between what is computed with and what is prefetched
  LIMN_FEW_TOKENS = 6,      // the most tokens of any format
};

/// Adds up the lanes of each of 16 vectors.
LIMN_TARGET_VNNI LIMN_INLINE __m512i sum_lanes(const __m512i v[16]) {
  __m512i a[8], b[4], c[2];
  LIMN_UNROLL (int i = 0; i < 8; i++)
    a[i] = _mm512_add_epi32(
      _mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]), _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]));
  LIMN_UNROLL (int i = 0; i < 4; i++)
    b[i] = _mm512_add_epi32(
      _mm512_unpacklo_epi64(a[2 * i], a[2 * i + 1]), _mm512_unpackhi_epi64(a[2 * i], a[2 * i + 1]));
  LIMN_UNROLL (int i = 0; i < 2; i++)
    c[i] = _mm512_add_epi32(
      _mm512_shuffle_i32x4(b[2 * i], b[2 * i + 1], 0x88), _mm512_shuffle_i32x4(b[2 * i], b[2 * i + 1], 0xdd));
  return _mm512_add_epi32(_mm512_shuffle_i32x4(c[0], c[1], 0x88), _mm512_shuffle_i32x4(c[0], c[1], 0xdd));
}

/// Adds up the lanes of each quarter of 4 vectors; quarter q of vector i goes to lane 4i + q.
LIMN_TARGET_VNNI LIMN_INLINE __m512i sum_quarters(const __m512i v[4]) {
  const __m512i a = _mm512_add_epi32(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
  const __m512i b = _mm512_add_epi32(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
  const __m512i c = _mm512_add_epi32(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
  return _mm512_permutexvar_epi32(_mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15), c);
}

/// The next cache line to prefetch, and where prefetching stops for now.
///
/// A core can have some twenty lines in flight, so memory runs at full speed only if requests never pause. One
/// sixteenth of the lines of 16 rows is therefore left for the time at their end when floats are added up.
typedef struct {
  const char *next, *end;
} limn_ahead;

LIMN_INLINE limn_ahead ahead_of(const void *weight) {
  return (limn_ahead){(const char *)weight + LIMN_FETCH_AHEAD, NULL};
}

/// Called before the first of some rows, the last of which ends at `end`. Lines of the rows before them that were not
/// requested are skipped.
LIMN_INLINE void ahead_until(limn_ahead *ahead, const void *end) {
  if (ahead->end) ahead->next = ahead->end;
  ahead->end = (const char *)end + LIMN_FETCH_AHEAD;
}

/// The number of lines to request while `bytes` of weights are computed with.
LIMN_INLINE int lines_early(size_t bytes) { return (int)((bytes * 15 / 16 + 32) / 64); }

LIMN_INLINE void fetch_lines(limn_ahead *ahead, const int lines) {
  LIMN_UNROLL (int i = 0; i < lines; i++) __builtin_prefetch(ahead->next + 64 * i);
  ahead->next += 64 * lines;
}

/// Requests lines if some are left.
LIMN_INLINE void fetch_late(limn_ahead *ahead, const int lines) {
  if (ahead->next < ahead->end) fetch_lines(ahead, lines);
}

/// The integer sums of 16 rows of a K format, before they are multiplied by floats: [row][block], with `wide` blocks
/// from row to row.
typedef struct {
  ptrdiff_t wide;
  int32_t *d;      // a word: the half d, with the half dmin above it
  int32_t *total;  // Σ scale · Σ q · x
  int32_t *low;    // Σ min · Σ x
} limn_sums_k;

/// Uses 64 bytes of scratch for each block, and 128 more for each token; the number of blocks is rounded up to a
/// multiple of 16.
LIMN_INLINE limn_sums_k sums_k(void *scratch, ptrdiff_t columns) {
  const ptrdiff_t wide = (columns / LIMN_BLOCK + 15) & ~15;
  int32_t *all = scratch;
  return (limn_sums_k){wide, all, all + 16 * wide, all + 32 * wide};
}

/// The sums of token t, which follow those of the tokens before it.
LIMN_INLINE limn_sums_k sums_of_k(const limn_sums_k *sums, ptrdiff_t t) {
  const ptrdiff_t place = t * 32 * sums->wide;
  return (limn_sums_k){sums->wide, sums->d, sums->total + place, sums->low + place};
}

LIMN_INLINE void v_load_columns(const int32_t *rows, ptrdiff_t wide, v16i columns[16]) {
  LIMN_UNROLL (int r = 0; r < 16; r++) columns[r] = v_load_bytes(rows + r * wide);
  v_transpose(columns);
}

/// y[r] = Σ over blocks, in ascending order, of d · dx · total − dmin · dx · low.
LIMN_INLINE void finish_k(
  const limn_sums_k *sums, const limn_x_k *x, ptrdiff_t blocks, int rows, float *y, limn_ahead *ahead) {
  v16f sum = v_splat(0);
  for (ptrdiff_t first = 0; first < blocks; first += 16) {
    v16i total[16], low[16], d[16];
    v_load_columns(sums->total + first, sums->wide, total);
    v_load_columns(sums->low + first, sums->wide, low);
    v_load_columns(sums->d + first, sums->wide, d);
    const int count = blocks - first < 16 ? (int)(blocks - first) : 16;
    for (int i = 0; i < count; i++) {
      fetch_late(ahead, 5);
      const v16f dx = v_splat(x[first + i].d);
      const v16f dw = v_float_from_half(d[i] & 0xffff), dmin = v_float_from_half(d[i] >> 16 & 0xffff);
      sum = v_fma(dw * dx, __builtin_convertvector(total[i], v16f), sum);
      sum = v_fma(-(dmin * dx), __builtin_convertvector(low[i], v16f), sum);
    }
  }
  v_store_part(y, sum, rows);
}

// MARK: AVX2

/// Adds up the lanes of each of 8 vectors.
LIMN_TARGET_AVX2 LIMN_INLINE __m256i sum_lanes_avx2(const __m256i v[8]) {
  __m256i a[4], b[2];
  LIMN_UNROLL (int i = 0; i < 4; i++) a[i] = _mm256_hadd_epi32(v[2 * i], v[2 * i + 1]);
  LIMN_UNROLL (int i = 0; i < 2; i++) b[i] = _mm256_hadd_epi32(a[2 * i], a[2 * i + 1]);
  return _mm256_add_epi32(_mm256_permute2x128_si256(b[0], b[1], 0x20), _mm256_permute2x128_si256(b[0], b[1], 0x31));
}

/// 16 signed bytes as 16-bit words: those at even places in the lower half, those at odd places in the upper half.
LIMN_TARGET_AVX2 LIMN_INLINE __m256i even_odd_avx2(__m128i numbers) {
  return _mm256_cvtepi8_epi16(
    _mm_shuffle_epi8(numbers, _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15)));
}

/// The eight words of each half, each twice: words 0 to 3 in `low`, 4 to 7 in `high`.
typedef struct {
  __m256i low, high;
} limn_twice;
LIMN_TARGET_AVX2 LIMN_INLINE limn_twice twice_avx2(__m256i words) {
  // Hidden from the compiler, which would otherwise use a shift and a broadcast for each word.
  limn_twice twice;
  twice.low = limn_kept_avx2(_mm256_unpacklo_epi16(words, words));
  twice.high = limn_kept_avx2(_mm256_unpackhi_epi16(words, words));
  return twice;
}

/// In each half, word g in all places: a single instruction, without a load.
LIMN_TARGET_AVX2 LIMN_INLINE __m256i spread_avx2(limn_twice words, const int g) {
  const __m256i four = g < 4 ? words.low : words.high;
  switch (g % 4) {
    case 0: return _mm256_shuffle_epi32(four, 0x00);
    case 1: return _mm256_shuffle_epi32(four, 0x55);
    case 2: return _mm256_shuffle_epi32(four, 0xaa);
    default: return _mm256_shuffle_epi32(four, 0xff);
  }
}

/// What a block of 256 columns of a row holds besides its numbers.
typedef struct {
  limn_twice scales;  // for every 32 columns: of the first 16 in the lower half, of the others in the upper half
  __m256i mins;       // one word for each of x's sums
  uint32_t d;         // as in limn_sums_k
} limn_head_k;
typedef limn_head_k limn_head_of_k(const void *block);

/// The numbers of the 32 columns of a block that begin at 32 · i.
typedef __m256i limn_part_of_k(const void *block, int i);

/// What differs between formats.
typedef struct {
  size_t bytes;    // of a block
  int has_offset;  // `mins` are subtracted from the totals, as in the panels' product (Q6_K), and there are no lows
  limn_head_of_k *head;
  limn_part_of_k *part;
} limn_format_k;

/// Adds up the lanes of each of 4 vectors.
LIMN_TARGET_AVX2 LIMN_INLINE __m128i sum_four_avx2(const __m256i v[4]) {
  const __m256i sum = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
  return _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
}

/// Vectors whose lanes add up to the sums of a block, for T tokens.
LIMN_TARGET_AVX2 LIMN_INLINE uint32_t multiply_block_k_avx2(
  const limn_format_k format, const char *block, const char *x, size_t x_stride, __m256i total[LIMN_FEW_TOKENS],
  __m256i low[LIMN_FEW_TOKENS], const int T) {
  const limn_head_k head = format.head(block);
  LIMN_UNROLL (int i = 0; i < 8; i++) {
    const __m256i q = format.part(block, i), scale = spread_avx2(head.scales, i);
    LIMN_UNROLL (int t = 0; t < T; t++) {
      const limn_x_k *xt = (const limn_x_k *)(x + t * x_stride);
      const __m256i pairs = _mm256_maddubs_epi16(q, _mm256_loadu_si256((const __m256i *)(xt->q + 32 * i)));
      const __m256i scaled = _mm256_madd_epi16(pairs, scale);
      total[t] = i == 0 ? scaled : _mm256_add_epi32(total[t], scaled);
    }
  }
  LIMN_UNROLL (int t = 0; t < T; t++) {
    const limn_x_k *xt = (const limn_x_k *)(x + t * x_stride);
    low[t] = _mm256_madd_epi16(head.mins, _mm256_loadu_si256((const __m256i *)xt->sums));
    if (format.has_offset) total[t] = _mm256_sub_epi32(total[t], low[t]);
  }
  return head.d;
}

/// Computes the first `count` of four blocks of a row and stores their sums at `place`. A format without lows leaves
/// their memory untouched.
LIMN_TARGET_AVX2 LIMN_INLINE void multiply_four_k_avx2(
  const limn_format_k format, const char *blocks, const char *x, size_t x_stride, const int count,
  const limn_sums_k *sums, ptrdiff_t place, limn_ahead *ahead, const int T) {
  const int lines = lines_early((size_t)count * format.bytes);
  __m256i total[LIMN_FEW_TOKENS][4], low[LIMN_FEW_TOKENS][4];
  LIMN_UNROLL (int i = 0; i < 4; i++) {
    LIMN_UNROLL (int t = 0; t < T; t++) total[t][i] = low[t][i] = _mm256_setzero_si256();
    if (i >= count) continue;
    fetch_lines(ahead, (i + 1) * lines / count - i * lines / count);
    __m256i its_total[LIMN_FEW_TOKENS], its_low[LIMN_FEW_TOKENS];
    sums->d[place + i] = (int32_t)multiply_block_k_avx2(
      format, blocks + (size_t)i * format.bytes, x + (size_t)i * sizeof(limn_x_k), x_stride, its_total, its_low, T);
    LIMN_UNROLL (int t = 0; t < T; t++) {
      total[t][i] = its_total[t];
      low[t][i] = its_low[t];
    }
  }
  LIMN_UNROLL (int t = 0; t < T; t++) {
    const limn_sums_k its = sums_of_k(sums, t);
    const __m128i totals = sum_four_avx2(total[t]), lows = sum_four_avx2(low[t]);
    memcpy(its.total + place, &totals, (size_t)count * sizeof(int32_t));
    if (!format.has_offset) memcpy(its.low + place, &lows, (size_t)count * sizeof(int32_t));
  }
}

/// Lane j of vector i becomes lane i of vector j.
LIMN_TARGET_AVX2 LIMN_INLINE void transpose_avx2(__m256i v[8]) {
  __m256i a[8], b[8];
  LIMN_UNROLL (int i = 0; i < 8; i += 2) {
    a[i] = _mm256_unpacklo_epi32(v[i], v[i + 1]);
    a[i + 1] = _mm256_unpackhi_epi32(v[i], v[i + 1]);
  }
  LIMN_UNROLL (int i = 0; i < 8; i++) {
    const __m256i x = a[i / 4 * 4 + i % 4 / 2], y = a[i / 4 * 4 + i % 4 / 2 + 2];
    b[i] = i % 2 ? _mm256_unpackhi_epi64(x, y) : _mm256_unpacklo_epi64(x, y);
  }
  LIMN_UNROLL (int i = 0; i < 4; i++) {
    v[i] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x20);
    v[i + 4] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x31);
  }
}

LIMN_TARGET_AVX2 LIMN_INLINE void load_columns_avx2(const int32_t *rows, ptrdiff_t wide, __m256i columns[8]) {
  LIMN_UNROLL (int r = 0; r < 8; r++) columns[r] = _mm256_loadu_si256((const __m256i *)(rows + r * wide));
  transpose_avx2(columns);
}

/// The lower words of 8 lanes, followed by their upper words.
LIMN_TARGET_AVX2 LIMN_INLINE __m256i halves_avx2(__m256i lanes) {
  const __m128i apart = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
  return _mm256_permute4x64_epi64(_mm256_shuffle_epi8(lanes, _mm256_broadcastsi128_si256(apart)), 0xd8);
}

/// finish_k for 8 rows: AVX2 lacks the registers for 16.
LIMN_TARGET_AVX2 LIMN_INLINE void finish_eight_k_avx2(
  const limn_sums_k *sums, ptrdiff_t row, const limn_x_k *x, ptrdiff_t blocks, const int has_low, float y[8],
  limn_ahead *ahead) {
  __m256 sum = _mm256_setzero_ps();
  for (ptrdiff_t first = 0; first < blocks; first += 8) {
    const ptrdiff_t place = row * sums->wide + first;
    __m256i total[8], low[8], d[8];
    load_columns_avx2(sums->total + place, sums->wide, total);
    if (has_low) load_columns_avx2(sums->low + place, sums->wide, low);
    load_columns_avx2(sums->d + place, sums->wide, d);
    const int count = blocks - first < 8 ? (int)(blocks - first) : 8;
    for (int i = 0; i < count; i++) {
      fetch_late(ahead, 2);
      const __m256 dx = _mm256_broadcast_ss(&x[first + i].d);
      const __m256i halves = halves_avx2(d[i]);
      const __m256 dw = _mm256_cvtph_ps(_mm256_castsi256_si128(halves));
      sum = _mm256_fmadd_ps(_mm256_mul_ps(dw, dx), _mm256_cvtepi32_ps(total[i]), sum);
      if (!has_low) continue;
      const __m256 dmin = _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1));
      sum = _mm256_fnmadd_ps(_mm256_mul_ps(dmin, dx), _mm256_cvtepi32_ps(low[i]), sum);
    }
  }
  _mm256_storeu_ps(y, sum);
}

/// Finishes rows of all tokens, from row `first` on. Not inlined: it has a caller for each number of tokens.
LIMN_TARGET_AVX2 LIMN_APART static limn_ahead finish_few_k_avx2(
  const limn_few_job *j, const limn_sums_k sums, ptrdiff_t first, int rows, int has_low, limn_ahead ahead) {
  for (ptrdiff_t t = 0; t < j->tokens; t++) {
    const limn_sums_k its = sums_of_k(&sums, t);
    const limn_x_k *x = (const limn_x_k *)((const char *)j->x + (size_t)t * j->x_stride);
    float y[16];
    for (int row = 0; row < rows; row += 8)
      finish_eight_k_avx2(&its, row, x, j->columns / LIMN_BLOCK, has_low, y + row, &ahead);
    memcpy(j->y + t * j->y_stride + first, y, (size_t)rows * sizeof *y);
  }
  return ahead;
}

LIMN_TARGET_AVX2 LIMN_INLINE void multiply_few_k_avx2(const limn_few_job *j, const limn_format_k format, const int T) {
  const char *x = j->x;
  const size_t row_bytes = j->row_bytes, x_stride = j->x_stride;
  const ptrdiff_t blocks = j->columns / LIMN_BLOCK, fours = blocks & ~(ptrdiff_t)3;
  const limn_sums_k sums = sums_k(j->scratch, j->columns);
  limn_ahead ahead = ahead_of(j->weight);
  for (ptrdiff_t first = 0; first < j->rows; first += 16) {
    const char *row = (const char *)j->weight + (size_t)first * row_bytes;
    const int count = j->rows - first < 16 ? (int)(j->rows - first) : 16;
    ahead_until(&ahead, row + (size_t)count * row_bytes);
    for (ptrdiff_t place = 0; place < count * sums.wide; place += sums.wide, row += row_bytes) {
      for (ptrdiff_t b = 0; b < fours; b += 4)
        multiply_four_k_avx2(
          format, row + (size_t)b * format.bytes, x + (size_t)b * sizeof(limn_x_k), x_stride, 4, &sums, place + b,
          &ahead, T);
      for (ptrdiff_t b = fours; b < blocks; b++)
        multiply_four_k_avx2(
          format, row + (size_t)b * format.bytes, x + (size_t)b * sizeof(limn_x_k), x_stride, 1, &sums, place + b,
          &ahead, T);
    }
    ahead = finish_few_k_avx2(j, sums, first, count, !format.has_offset, ahead);
  }
}

/// Defines `name`, which calls multiply(job, …, number of tokens) with the number as a constant, for up to `most`
/// tokens.
#define LIMN_FEW_AVX2(name, most, multiply, ...)                        \
  enum { name##_tokens = most };                                        \
  _Static_assert(most <= LIMN_FEW_TOKENS, "sums for this many tokens"); \
  LIMN_TARGET_AVX2 static void name(const limn_few_job *j) {            \
    if (j->tokens == 1)                                                 \
      multiply(j, __VA_ARGS__, 1);                                      \
    else if (most >= 2 && j->tokens == 2)                               \
      multiply(j, __VA_ARGS__, 2);                                      \
    else if (most >= 3 && j->tokens == 3)                               \
      multiply(j, __VA_ARGS__, 3);                                      \
    else if (most >= 4 && j->tokens == 4)                               \
      multiply(j, __VA_ARGS__, 4);                                      \
    else if (most >= 5 && j->tokens == 5)                               \
      multiply(j, __VA_ARGS__, 5);                                      \
    else if (most >= 6 && j->tokens == 6)                               \
      multiply(j, __VA_ARGS__, 6);                                      \
    else                                                                \
      __builtin_trap();                                                 \
  }
#define LIMN_TAKE_FEW(recipe, isa, name, vnni) limn_take_few(recipe, isa, name, name##_tokens, vnni)

/// Defines the function of a format: the most tokens, and the fields of limn_format_k.
#define LIMN_FEW_K_AVX2(name, most, ...) LIMN_FEW_AVX2(name, most, multiply_few_k_avx2, ((limn_format_k){__VA_ARGS__}))
#endif
