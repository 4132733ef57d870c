# flag > environment > file
printf 'width = 16\nheight = 16\nfps = 16\n# a comment\n\n[generate]\nheight = 24\n[train]\nlr = 1\n' >c.ini
export REELM_WIDTH=32 REELM_FRAMES=5
$reelm generate --config-file c.ini --width 64 --seconds 1 --print-config >out || exit 99
grep -A1 -x '# flag' out | grep -qx 'width = 64' || exit 98
grep -A1 -x '# file' out | grep -qx 'height = 24' || exit 97
grep -A1 -x '# file' out | grep -qx 'fps = 16' || exit 96
REELM_CONFIG_FILE=c.ini $reelm generate --dry-run --json --seconds 1 --size 32x32 --no-audio >out || exit 95
grep -q '"frames":[[:space:]]*16' out || exit 94 # --seconds beats REELM_FRAMES
mkdir -p xdg/reelm && mv c.ini xdg/reelm/config.ini
XDG_CONFIG_HOME=$PWD/xdg $reelm generate --print-config >out || exit 93
grep -A1 -x '# environment' out | grep -qx 'width = 32'
