/* SPDX-License-Identifier: Apache-2.0
 *
 * Updates in place under a kept lease, without a message (dataplane/lease.c,
 * controller/worker/ctx_update.c, labels lease.*). The object is two halves that are always alike
 * outside an update. Holder 0 writes its word and both halves through a store buffer that keeps
 * their order, as in doorbell.pml; it may die between any two steps. The controller takes the
 * lease back for holder 1, or to copy the object (a checkpoint), at any moment.
 *
 * Holds: only one updates at a time; a copy is never of half an update, and holds all that was
 * committed by then; after a death the object is whole with what was counted, or is torn and said
 * to be.
 *
 * MUTANT NO_BARRIER  the controller fences itself only
 * MUTANT LOOK_FIRST  the holder looks at the mark before it says that it updates
 * MUTANT NO_LOOK     the holder does not look at the mark at its begin
 * MUTANT READ_FIRST  the controller looks at the word before it marks
 * MUTANT COUNT_EARLY an update is counted before its last half is written
 * MUTANT COPY_BUSY   a copy does not wait for the update
 * MUTANT NOT_TORN    who dies in an update has committed it
 */
#define UPDATES 2

/* As the controller sees them; the word is count and bit. */
byte count, left, right;
bit updates;
chan buffer = [6] of { byte, byte }; /* the holder's stores on their way: which, value */
#define COUNT 0
#define UPDATES_BIT 1
#define LEFT 2
#define RIGHT 3

bit ended;               /* the controller's word */
bit dead, told, done;    /* the holder: died; said that it has seen the end; does no more */
byte under_way;          /* who updates now */
byte committed;          /* by the holder, as it knows itself */

inline drain_one()
{
	buffer?what, value;
	if
	:: what == COUNT -> count = value; updates = 0
	:: what == UPDATES_BIT -> updates = value
	:: what == LEFT -> left = value
	:: what == RIGHT -> right = value
	fi
}

proctype drainer()
{
	byte what, value;

end:	do
	:: atomic { nempty(buffer) -> drain_one() }
	od
}

inline flush()
{
	atomic {
		do
		:: nempty(buffer) -> drain_one()
		:: empty(buffer) -> break
		od
	}
}

proctype holder()
{
	byte n = 0, what, value;
	bit seen;

	{
		do
		:: n < UPDATES ->
#ifdef LOOK_FIRST
			seen = ended;
#endif
			buffer!UPDATES_BIT, 1;
#ifndef LOOK_FIRST
#ifdef NO_LOOK
			seen = 0;
#else
			seen = ended;
#endif
#endif
			if
			:: seen -> buffer!UPDATES_BIT, 0; break
			:: else
			fi;
			n++;
			atomic { under_way++; assert(under_way == 1) };
			buffer!LEFT, n;
#ifdef COUNT_EARLY
			atomic { under_way--; committed = n; buffer!COUNT, n };
			buffer!RIGHT, n;
#else
			buffer!RIGHT, n;
			/* COUNT says both: one more, and none under way */
			atomic { under_way--; committed = n; buffer!COUNT, n };
#endif
			seen = ended;
			if
			:: seen -> break
			:: else
			fi
		:: n == UPDATES -> break
		od;
		atomic { flush(); told = ended; done = 1 } /* a message is a release store */
	} unless { dead }
}

/* Its memory is what its processor had in it. */
proctype killer()
{
	byte what, value;

	if
	:: atomic { !done -> flush(); dead = 1; under_way = 0 }
	:: skip
	fi
}

inline fence()
{
#ifndef NO_BARRIER
	flush();
#endif
	skip
}

/* Waited for: it says so, its word says so, or it is dead. */
inline until_free()
{
	do
	:: atomic { dead -> torn = updates; break }
	:: atomic { !dead && !busy -> break }
	:: atomic { !dead && busy && !updates -> busy = 0 }
	od
}

proctype controller()
{
	byte what, value, before, l, r;
	bit busy, torn = 0;

#ifdef READ_FIRST
	busy = updates;
#endif
	ended = 1;
	fence();
	before = committed;
#ifndef READ_FIRST
	busy = updates;
#endif
#ifndef COPY_BUSY
	until_free();
#endif
#ifdef NOT_TORN
	torn = 0;
#endif
	if
	:: torn -> skip /* said to be */
	:: else ->
		/* the copy, with the holder's steps between its loads */
		l = left;
		r = right;
		assert(l == r);
		assert(l == count && l >= before);
		/* and the other one's update */
		atomic { under_way++; assert(under_way == 1) };
		under_way--
	fi
}

init
{
	atomic {
		run drainer();
		run holder();
		run killer();
		run controller()
	}
}
