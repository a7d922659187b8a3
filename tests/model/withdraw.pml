/* SPDX-License-Identifier: Apache-2.0
 *
 * Taking a call back on the direct path (docs/architecture.md, "Three paths"): the client marks
 * the slot, fences the worker, then looks at the worker's position; the worker publishes its
 * position, then looks at the mark. With store buffers as in doorbell.pml. The call is run
 * exactly once: here, or where the client sends it after it has got it back.
 *
 * MUTANT NO_BARRIER   the client fences itself only
 * MUTANT MARK_FIRST   the worker looks at the mark before it publishes
 * MUTANT NO_PUBLISH   the worker publishes after it has run the call
 */
bit marked;            /* in the client's slot */
bit passed;            /* the worker's position, visible to all */
bit passed_pending;    /* in the worker's store buffer */
byte runs;             /* how often the call is run */
bit answered;          /* the worker has answered … */
bit withdrawn;         /* … that it did not run it */

inline flush()
{
	atomic {
		passed = passed || passed_pending;
		passed_pending = 0
	}
}

proctype worker()
{
	bit seen;

#ifdef MARK_FIRST
	seen = marked;
	passed_pending = 1;
#else
#ifndef NO_PUBLISH
	passed_pending = 1;
#endif
	seen = marked;
#endif
	if
	:: seen -> withdrawn = 1
	:: !seen -> runs++
	fi;
	passed_pending = 1;
	flush(); /* the answer is a release store */
	answered = 1
}

proctype drainer()
{
	do
	:: passed_pending -> flush()
	:: answered -> break
	od
}

proctype client()
{
	marked = 1;
#ifndef NO_BARRIER
	flush();
#endif
	if
	:: !passed -> runs++ /* ours again: sent the other way; the answer is not looked at */
	:: passed ->
		answered; /* waits */
		if
		:: withdrawn -> runs++
		:: !withdrawn
		fi
	fi;
	answered;
	assert(runs == 1)
}

init
{
	atomic {
		run worker();
		run drainer();
		run client()
	}
}
