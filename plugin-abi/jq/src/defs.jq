# What jaq's own values bring along, and what jq has beyond jaq.

# Conversion
def toboolean: if . == true or . == false then . elif . == "true" then true elif . == "false" then false else error("cannot read the value as a boolean") end;
def toarray: if type == "array" then . else [.] end;
def ascii: [.] | implode;

# Arrays
def transpose: if . == [] then [] else [range([.[] | length] | max) as $i | [.[][$i]]] end;

# Indexing
def in(xs)    : . as $x | xs | has     ($x);
def inside(xs): . as $x | xs | contains($x);
def  index($i): indices($i) | .[ 0];
def rindex($i): indices($i) | .[-1];
def del(f): delpaths([path(f)]);
def IN(s): any(s == .; .);
def IN(src; s): any(src == s; .);
def INDEX(stream; f): reduce stream as $row ({}; .[$row | f | tostring] |= $row);
def INDEX(f): INDEX(.[]; f);

# Objects: `k`, `name`, `Name`, `K`, `Key` and `value`, `v`, `Value`, `V` are keys to jq as well.
def from_entries: reduce .[] as $x ({};
  . + { ($x | if type == "object" then (if has("key") then .key elif has("k") then .k elif has("name") then .name elif has("Name") then .Name elif has("K") then .K else .Key end) else . end
         | if type == "string" then . elif type == "null" then "null" else tojson end):
        ($x | if type == "object" then (if has("value") then .value elif has("v") then .v elif has("Value") then .Value else .V end) else null end) });
def with_entries(f): to_entries | map(f) | from_entries;

# Strings
def trimstr($s): ltrimstr($s) | rtrimstr($s);
def join($s): reduce .[] as $x (null;
  (if . == null then "" else . + $s end) + ($x | if . == null then "" elif type == "string" then . else tojson end)) // "";
def scan_(re; flags): matches(re; flags)[] | if length > 1 then [.[1:][].string] else .[0].string end;
def capture_of_match: map(select(.name) | { (.name): .string }) | add + {};

# Streams
def tostream: path(def r: (.[]? | r), .; r) as $p | getpath($p)
  | reduce path(.[]?) as $q ([$p, .]; [$p + $q]);
def fromstream(f): { x: null, e: false } as $init
  | foreach f as $i ($init;
      if .e then $init else . end
      | if $i | length == 2
        then setpath(["e"]; $i[0] | length == 0) | setpath(["x"] + $i[0]; $i[1])
        else setpath(["e"]; $i[0] | length == 1) end;
      if .e then .x else empty end);
def truncate_stream(stream): . as $n | null | stream | . as $input
  | if (.[0] | length) > $n then setpath([0]; .[0][$n:]) else empty end;

# Dates
def date: todate;
def dateadd(u; n): . + n;
def datesub(u; n): . - n;

# Formatting
def @json: tojson;
def @csv: map(if type == "string" then "\"" + gsub("\""; "\"\"") + "\""
  elif type == "number" or type == "boolean" then tojson
  elif . == null then "" else error("a row of CSV holds no arrays and objects") end) | join(",");
def @tsv: map(if type == "string" then gsub("\\\\"; "\\\\") | gsub("\t"; "\\t") | gsub("\n"; "\\n") | gsub("\r"; "\\r")
  elif type == "number" or type == "boolean" then tojson
  elif . == null then "" else error("a row of TSV holds no arrays and objects") end) | join("\t");
