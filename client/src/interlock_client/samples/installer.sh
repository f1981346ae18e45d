#!/bin/sh
# A sample of an installer and of a boot control for Interlock: the image is a tar archive with
# rootfs.img and appfs.img, and each side is two files. See "Your own installer" in the
# integrator's guide for what each sub-command must do. Change the three lines below.
store=/srv/gateway                       # has a/rootfs, a/appfs, b/rootfs, b/appfs
state=/srv/gateway-boot                  # the boot state, outside the slots
agent=/usr/bin/interlock-client          # asked whether it was really the agent that called

set -eu

fail() {
    echo "$1" >&2
    exit "${2:-1}"
}

# The boot state is one line: active, armed or -, tries, good sides, fell back or -. It is replaced
# by one rename of a file that was flushed.
load() {
    read -r active armed tries good fell_back < "$state/line" || fail "there is no boot state"
}

save() {
    printf '%s %s %s %s %s\n' "$active" "$armed" "$tries" "$good" "$fell_back" > "$state/line.new"
    sync "$state/line.new"
    mv "$state/line.new" "$state/line"
    sync "$state"
}

quoted() {
    if [ "$1" = - ]; then echo null; else echo "\"$1\""; fi
}

other() {
    if [ "$1" = a ]; then echo b; else echo a; fi
}

inactive() {
    case "$1" in a | b) ;; *) fail "no side is called $1" 2 ;; esac
    [ "$1" != "$active" ] || fail "side $1 is the committed one"
}

case "${1:-}" in
install)
    load
    inactive "$2"
    [ "$armed" != "$2" ] || fail "side $2 is armed"
    sha256=$(sed -n 's/^{"length":[0-9]*,"sha256":"\([0-9a-f]\{64\}\)".*/\1/p')
    "$agent" installing "$sha256" > /dev/null || fail "the agent did not call this" 20
    # The descriptor, by its number: there is no path that somebody could change meanwhile.
    tar -tf "/proc/self/fd/$3" > /dev/null || fail "the image is no tar archive" 20
    for slot in rootfs appfs; do
        tar -xOf "/proc/self/fd/$3" "$slot.img" > "$store/$2/$slot"
        sync "$store/$2/$slot"
    done
    sync "$store/$2"
    ;;
room)
    free=$(($(stat -f -c '%a * %S' "$store/$2")))
    for slot in rootfs appfs; do
        held=$(stat -c %s "$store/$2/$slot" 2> /dev/null || echo 0)
        eval "$slot=$((free + held))"
    done
    printf '{"slots":{"rootfs":%s,"appfs":%s}}\n' "$rootfs" "$appfs"
    ;;
read-back)
    [ -e "$store/$2/$3" ] || exit 0
    if [ $# -gt 3 ]; then head -c "$4" "$store/$2/$3"; else cat "$store/$2/$3"; fi
    ;;
booted)
    read -r booted < "$state/booted" || fail "nobody said which side booted"
    printf '{"booted":"%s"}\n' "$booted"
    ;;
standing)
    load
    case "$good" in ab | ba) sides='"a","b"' ;; *) sides="\"$good\"" ;; esac
    printf '{"active":"%s","armed":%s,"good":[%s],"fell_back":%s}\n' \
        "$active" "$(quoted "$armed")" "$sides" "$(quoted "$fell_back")"
    ;;
invalidate)
    load
    inactive "$2"
    [ "$armed" != "$2" ] || { armed=- tries=0; }
    [ "$fell_back" != "$2" ] || fell_back=-
    good=$active
    save
    ;;
arm)
    load
    inactive "$2"
    armed=$2 tries=$3 fell_back=-
    save
    ;;
disarm)
    load
    armed=- tries=0
    save
    ;;
commit)
    load
    case "$good" in *"$2"*) ;; *) good=$good$2 ;; esac
    active=$2 armed=- tries=0 fell_back=-
    save
    ;;
abandon)
    load
    active=$(other "$2")
    case "$good" in *"$active"*) ;; *) fail "side $active holds nothing good" ;; esac
    good=$active armed=- tries=0 fell_back=-
    save
    ;;
select)
    # For the boot script, and not asked for by the agent: which side boots now. A try is used up
    # before it begins.
    load
    booted=$active
    if [ "$armed" != - ] && [ "$tries" -gt 0 ]; then
        booted=$armed tries=$((tries - 1))
        save
    elif [ "$armed" != - ]; then
        fell_back=$armed armed=-
        save
    fi
    echo "$booted" > "$state/booted"
    echo "$booted"
    ;;
*)
    fail "there is no such sub-command: ${1:-}" 2
    ;;
esac
