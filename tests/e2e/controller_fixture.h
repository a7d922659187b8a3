/* SPDX-License-Identifier: Apache-2.0
 *
 * A real controller of its own for each test, and a connection to it. For one test program each:
 * after cmocka.h, which wants to be first.
 */
#ifndef PRAAS_TESTS_CONTROLLER_FIXTURE_H
#define PRAAS_TESTS_CONTROLLER_FIXTURE_H

#include <stdlib.h>

#include "praas/client.h"
#include "tests/lib/controller.h"

/* What all tests begin with; main() fills it in. */
static struct controller_options base;

struct fixture {
	struct controller c;
	struct controller_options o;
	praas_connection *conn;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	f->o = base;
	controller_init(&f->c);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	praas_close(f->conn);
	controller_release(&f->c);
	free(f);
	return 0;
}

static praas_connection *connect_shm(const struct fixture *f)
{
	char *ticket = controller_ticket(&f->c, "shm");
	praas_connection *conn = NULL;

	if (praas_connect_ticket(ticket, NULL, &conn) != 0)
		fail_msg("connect: %s", praas_error());
	free(ticket);
	return conn;
}

#endif
