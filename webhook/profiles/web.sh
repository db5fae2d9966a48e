# Serve the folders, or single files, that the arguments name with nginx: one folder at /, several at /1/, /2/ and so on.
# shellcheck shell=sh
work=/pillion/web
mkdir -p "$work/temporary"
rm -rf "$work/root"
if [ "$#" -eq 1 ] && [ -d "$1" ]; then
  ln -s "$1" "$work/root"
else
  mkdir "$work/root"
  number=0
  for place; do
    number=$((number + 1))
    if [ -d "$place" ]; then
      ln -s "$place" "$work/root/$number"
    else
      mkdir "$work/root/$number"
      ln -s "$place" "$work/root/$number/"
    fi
  done
fi
# nginx as root gives its folders to nobody, which it may not without capabilities: it stays root, as the app is
user=
[ "$(id -u)" != 0 ] || user='user root root;'
cat >"$work/nginx.conf" <<END
worker_processes 1;
$user
pid $work/nginx.pid;
error_log stderr warn;
events { worker_connections 256; }
http {
  access_log off;
  default_type text/plain;
  types { text/html html htm; text/css css; text/plain log txt; application/json json; }
  client_body_temp_path $work/temporary; proxy_temp_path $work/temporary; fastcgi_temp_path $work/temporary;
  uwsgi_temp_path $work/temporary; scgi_temp_path $work/temporary;
  server {
    listen ${PORT:-8080};
    root $work/root;
    autoindex on;
    # a log file grows while it is read: what was there at the start of the answer is sent
    add_header Cache-Control no-store;
  }
}
END
exec nginx -e stderr -c "$work/nginx.conf" -g 'daemon off;'
