// Attention in tiles of 64 positions with a running maximum (online softmax), without a [tokens, tokens] matrix.
//
//   for each tile:  s = scale · q·k;  m' = max(m, s);  p = exp(s − m');  f = exp(m − m')
//                   l = l · f + Σ p;  y = y · f + Σ p · v                                 at the end:  y / l
//
// Tiles begin at multiples of 64 positions, counted from position 0. A tile of which a query sees nothing changes
// nothing for it (exactly: f = 1, p = 0), so the bits of a query do not depend on the other queries of its block or
// call. Query heads that share a key/value head are additional rows of the block, so that a tile is unpacked once for
// all of them.
//
// With bfloat16, q, k, p and v are rounded before they are multiplied; sums and softmax stay in float32.
#include "kernels.h"
#include "simd.h"
#include "softmax.h"

#include <float.h>

enum { TILE = LIMN_ATTENTION_TILE, PANELS = TILE / LIMN_PANEL_ROWS };

/// The layout of a thread's scratch. Elements of panels, q and p have `size` bytes: float32 or bfloat16.
typedef struct {
  ptrdiff_t rows, width, size;
  char *keys, *values;  // in the layouts of limn_unpack_tile
  char *q;              // [rows], q_bytes apart: usually an odd number of cache lines
  size_t q_bytes;
  float (*s)[TILE];  // [tile_tokens][TILE]
  char *p;           // [tile_tokens][TILE]
  float *y;          // [width / 16][rows][16]
  float *m, *l;      // [rows]
} parts;

/// The next `bytes` of scratch; NULL if only sizes are added up.
static void *part(char *scratch, size_t *used, ptrdiff_t bytes) {
  char *place = scratch ? scratch + *used : NULL;
  *used += (size_t)bytes;
  return place;
}

/// Returns the size of the scratch in bytes; `scratch` may be NULL to ask for just that.
static size_t lay_out(const limn_attention_job *j, char *scratch, parts *p) {
  const ptrdiff_t rows = j->block_tokens * (j->heads / j->kv_heads), width = limn_attention_width(j);
  const ptrdiff_t size = (ptrdiff_t)j->recipe->x_bytes / LIMN_BLOCK, padded_rows = (rows + 15) & ~(ptrdiff_t)15;
  const ptrdiff_t number = sizeof(float), tile_tokens = (j->recipe->tile_tokens + 15) & ~15;
  size_t used = 0;
  *p = (parts){.rows = rows, .width = width, .size = size, .q_bytes = (size_t)(width * size + 64)};
  p->keys = part(scratch, &used, TILE * width * size);
  p->values = part(scratch, &used, TILE * width * size);
  p->q = part(scratch, &used, padded_rows * (ptrdiff_t)p->q_bytes);
  p->s = part(scratch, &used, tile_tokens * TILE * number);
  p->p = part(scratch, &used, tile_tokens * TILE * size);
  p->y = part(scratch, &used, rows * width * number);
  p->m = part(scratch, &used, padded_rows * number);
  p->l = part(scratch, &used, padded_rows * number);
  return used;
}

size_t limn_attention_scratch(const limn_attention_job *job) {
  parts p;
  return lay_out(job, NULL, &p);
}

/// One item: the queries of some tokens, for the heads that share a key/value head. Row r of the block is token r /
/// group, head r % group.
LIMN_INLINE void attend(
  const limn_attention_job *j, const parts *p, ptrdiff_t kv_head, ptrdiff_t first_token, ptrdiff_t tokens,
  limn_soften *soften) {
  const ptrdiff_t group = j->heads / j->kv_heads, rows = tokens * group, strips = (j->head_size + 15) / 16;
  const ptrdiff_t first_position = j->first_position + first_token;
  const size_t key_panel = (size_t)(p->width * LIMN_PANEL_ROWS * p->size), strip_bytes = (size_t)(TILE * 16 * p->size);
  limn_multiply *multiply = j->recipe->multiply;
  const int most = j->recipe->tile_tokens;
  for (ptrdiff_t r = 0; r < rows; r++) {
    const ptrdiff_t head = kv_head * group + r % group;
    const float *q = j->q + ((first_token + r / group) * j->heads + head) * j->head_size;
    j->recipe->prepare(q, p->q + (size_t)r * p->q_bytes, (int)j->head_size);
    p->m[r] = -FLT_MAX;
    p->l[r] = 0;
  }
  memset(p->y, 0, (size_t)(p->rows * p->width) * sizeof(float));

  const ptrdiff_t end = j->causal ? first_position + tokens : j->positions;
  const ptrdiff_t first_seen = j->causal && j->window ? first_position - j->window + 1 : 0;
  for (ptrdiff_t start = first_seen > 0 ? first_seen / TILE * TILE : 0; start < end; start += TILE) {
    j->unpack(j, kv_head, start, end - start < TILE ? end - start : TILE, p->keys, p->values);
    for (ptrdiff_t row = 0; row < rows; row += most) {
      const int n = rows - row < most ? (int)(rows - row) : most;
      // Skip rows that see nothing of the tile: those before it, and those whose window begins after it.
      const ptrdiff_t first = first_position + row / group, last = first_position + (row + n - 1) / group;
      if (j->causal && (last < start || (j->window && first - j->window + 1 >= start + TILE))) continue;
      memset(p->s, 0, (size_t)n * sizeof p->s[0]);
      for (ptrdiff_t panel = 0; panel < PANELS; panel++)
        multiply(
          p->keys + (size_t)panel * key_panel, p->q + (size_t)row * p->q_bytes, p->q_bytes, n, p->s[0] + panel * 16,
          TILE, (int)j->head_size);
      for (ptrdiff_t i = 0; i < n; i++) {
        const ptrdiff_t r = row + i, position = first_position + r / group;
        const ptrdiff_t high = (j->causal ? position : end - 1) - start;
        const ptrdiff_t low = j->causal && j->window ? position - j->window + 1 - start : 0;
        const ptrdiff_t from = low < 0 ? 0 : low, to = high < TILE ? high : TILE - 1;
        const float factor = soften(p->s[i], j->scale, from < TILE ? from : TILE, to, p->m + r, p->l + r);
        j->recipe->prepare(p->s[i], p->p + i * TILE * p->size, TILE);
        if (factor != 1)
          for (ptrdiff_t strip = 0; strip < strips; strip++) {
            float *y = p->y + (strip * p->rows + r) * 16;
            for (int k = 0; k < 16; k++) y[k] *= factor;
          }
      }
      for (ptrdiff_t strip = 0; strip < strips; strip++)
        multiply(
          p->values + (size_t)strip * strip_bytes, p->p, (size_t)(TILE * p->size), n,
          p->y + (strip * p->rows + row) * 16, 16, TILE);
    }
  }

  for (ptrdiff_t r = 0; r < rows; r++) {
    float *y = j->y + ((first_token + r / group) * j->heads + kv_head * group + r % group) * j->head_size;
    // A tile that changes nothing may still turn −0 into 0; + 0.0f makes all zeros positive.
    for (ptrdiff_t i = 0; i < j->head_size; i += 16) {
      const v16f result = v_load(p->y + (i / 16 * p->rows + r) * 16) / p->l[r] + 0.0f;
      if (i + 16 <= j->head_size)
        v_store(y + i, result);
      else
        v_store_part(y + i, result, j->head_size - i);
    }
  }
}

LIMN_INLINE void attention_with(
  const limn_attention_job *j, ptrdiff_t begin, ptrdiff_t end, void *scratch, limn_soften *soften) {
  const ptrdiff_t blocks = (j->tokens + j->block_tokens - 1) / j->block_tokens;
  parts p;
  lay_out(j, scratch, &p);
  if (j->recipe->uses_amx) limn_amx_begin();
  for (ptrdiff_t item = begin; item < end; item++) {
    // The last blocks see the most positions and go first, so that threads finish together.
    const ptrdiff_t first_token = (blocks - 1 - item / j->kv_heads) * j->block_tokens;
    const ptrdiff_t left = j->tokens - first_token;
    attend(j, &p, item % j->kv_heads, first_token, left < j->block_tokens ? left : j->block_tokens, soften);
  }
  if (j->recipe->uses_amx) limn_amx_end();
}
static void attention_scalar(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  attention_with(job, begin, end, scratch, limn_soften_scalar);
}
LIMN_INLINE void attention_body(const void *job, ptrdiff_t begin, ptrdiff_t end, void *scratch) {
  attention_with(job, begin, end, scratch, limn_soften_vectors);
}
LIMN_KERNEL_INSTANCES(attention)

void limn_install_attention(limn_kernels *kernels) { kernels->attention = LIMN_PICK(kernels->isa, attention); }
