#include "limn_commit.h"
#include <stddef.h>

const char *limn_commit(void) {
#if defined(LIMN_COMMIT)
  return LIMN_COMMIT;
#else
  return NULL;
#endif
}
