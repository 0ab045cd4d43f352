"""Tells the QFAE node at once that something arrived, so that it need not wait for its next poll; and gives the
studies in Orthanc Explorer a button that opens the node's page on them, with the percentile.

In orthanc.json: "Plugins" : [ ".../libOrthancPython.so" ], "PythonScript" : "/path/to/hint.py".
A thread of its own posts, so Orthanc never waits for the node.
"""

import json
import os
import threading
import time
import urllib.request

import orthanc

URL = os.environ.get("QFAE_HINT_URL", "http://127.0.0.1:8780/hooks/orthanc")
TOKEN = os.environ.get("QFAE_HINT_TOKEN")  # of role sender, where the node asks for one
HEADERS = {"Authorization": f"Bearer {TOKEN}"} if TOKEN else {}
# The node as browsers reach it.
PAGE = os.environ.get("QFAE_PAGE_URL", "http://127.0.0.1:8780")
arrived = threading.Event()


def on_change(change, level, resource):
    if change in (orthanc.ChangeType.NEW_INSTANCE, orthanc.ChangeType.STABLE_STUDY):
        arrived.set()


def post_hints():
    while True:
        arrived.wait()
        arrived.clear()
        try:
            urllib.request.urlopen(urllib.request.Request(URL, b"", HEADERS), timeout=10).close()
        except OSError as error:  # the node is away; it finds what it missed
            orthanc.LogWarning(f"QFAE is not reached: {error}")
        time.sleep(1)


threading.Thread(target=post_hints, daemon=True).start()
orthanc.RegisterOnChangeCallback(on_change)

BUTTON = """
$('#study').live('pagebeforecreate', function() {
  var button = $('<a>').attr({ id: 'qfae', 'data-role': 'button', href: '#', 'data-icon': 'search' }).text('QFAE');
  button.insertBefore($('#study-delete').parent().parent());
  button.click(function() {
    var uuid = $.mobile.pageData && $.mobile.pageData.uuid;
    if (uuid) $.getJSON('../studies/' + uuid, function(study) {
      window.open(%s + '/#/study/orthanc/' + study.MainDicomTags.StudyInstanceUID);
    });
    return false;
  });
});
$('#study').live('pageshow', function() {
  var text = $('#qfae .ui-btn-text').text('QFAE');
  var uuid = $.mobile.pageData && $.mobile.pageData.uuid;
  // A number from 1024 on: the metadata that the node writes. A study without it has no score yet.
  if (uuid) $.get('../studies/' + uuid + '/metadata/8780', function(percentile) {
    text.text('QFAE: percentile ' + percentile);
  }, 'text');
});
""" % json.dumps(PAGE)
orthanc.ExtendOrthancExplorer(BUTTON)
