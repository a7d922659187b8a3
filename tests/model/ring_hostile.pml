/* SPDX-License-Identifier: Apache-2.0
 *
 * The producer of shm/ring.h against a consumer that writes anything into its read position at
 * any moment: what the producer believes stays possible, and it never thinks it has more room
 * than the ring has slots.
 *
 * MUTANT NO_LOWER      a position that goes back is believed
 * MUTANT NO_UPPER      a position past what was pushed is believed
 * MUTANT TWICE         the position is loaded again after it was checked
 * MUTANT STORE_FIRST   it is noted before it is checked
 */
#define SLOTS 2
#define PUSHES 5
#define MAX 7

byte tail;
bit over;

proctype producer()
{
	byte head = 0, seen = 0, t, believed = 0;

	do
	:: head < PUSHES && head - seen < SLOTS -> head++
	:: head < PUSHES && head - seen >= SLOTS ->
		t = tail;
#ifdef STORE_FIRST
		seen = t;
#endif
		if
#ifdef NO_LOWER
		:: t <= head ->
#else
#ifdef NO_UPPER
		:: t >= believed ->
#else
		:: t >= believed && t <= head ->
#endif
#endif
#ifdef TWICE
			seen = tail
#else
			seen = t
#endif
		:: else /* -EPROTO; asked again, the same holds */
		fi;
		assert(seen >= believed && seen <= head && head - seen <= SLOTS);
		believed = seen
	:: head == PUSHES -> break
	:: break /* gives up at any time */
	od;
	over = 1
}

proctype hostile()
{
	do
	:: over -> break
	:: tail < MAX -> tail++
	:: tail > 0 -> tail = 0
	od
}

init
{
	atomic {
		run producer();
		run hostile()
	}
}
