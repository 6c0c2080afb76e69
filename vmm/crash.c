/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A failed assertion ends the program here instead of in the C library, which waits for the reader
 * of stderr. */
#include <stdlib.h>

#include "vmm/log.h"

/* musl's assert() calls this function; its own prints to stderr, and there waits for who reads that. */
_Noreturn void __assert_fail(const char *expression, const char *file, int line, const char *function);

_Noreturn void __assert_fail(const char *expression, const char *file, int line, const char *function)
{
	log_error("a fault of Ferry's: %s does not hold in %s(), %s line %d; it ends here", expression,
		  function, file, line);
	log_flush();
	abort();
}
