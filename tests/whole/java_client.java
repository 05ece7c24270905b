// Visits /session with Java's JSSE, as often as asked, and prints one line of JSON for each visit.
// Call: java java_client.java '{"port": …, "ca": "ca.pem", "version": "TLSv1.3", "tickets": true,
//                              "clients": 10, "visits": 3}'

import java.io.FileInputStream;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.regex.Pattern;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.SSLSocketFactory;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;

class JavaClient {
    static final String REQUEST =
            "GET /session HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

    public static void main(String[] arguments) throws Exception {
        String told = arguments[0];
        System.setProperty("jdk.tls.client.enableSessionTicketExtension", value(told, "tickets"));
        TrustManager[] trusted = trusted(value(told, "ca"));
        int port = Integer.parseInt(value(told, "port"));
        int visits = Integer.parseInt(value(told, "visits"));
        for (int client = 0; client < Integer.parseInt(value(told, "clients")); client++) {
            // A client is a context: it keeps the sessions.
            SSLContext context = SSLContext.getInstance("TLS");
            context.init(null, trusted, null);
            for (int count = 0; count < visits; count++) {
                System.out.printf("{\"client\": %d, ", client);
                visit(context.getSocketFactory(), port, value(told, "version"));
            }
        }
    }

    static String value(String json, String key) {
        return Pattern.compile("\"" + key + "\": \"?([^,\"}]*)").matcher(json).results()
                .findFirst().orElseThrow().group(1);
    }

    static TrustManager[] trusted(String ca) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null);
        try (FileInputStream file = new FileInputStream(ca)) {
            CertificateFactory factory = CertificateFactory.getInstance("X.509");
            store.setCertificateEntry("ca", factory.generateCertificate(file));
        }
        TrustManagerFactory factory = TrustManagerFactory.getInstance("PKIX");
        factory.init(store);
        return factory.getTrustManagers();
    }

    static void visit(SSLSocketFactory sockets, int port, String version) throws Exception {
        long began = System.currentTimeMillis();
        try (SSLSocket socket = (SSLSocket) sockets.createSocket("localhost", port)) {
            socket.setTcpNoDelay(true);
            socket.setEnabledProtocols(new String[] {version});
            socket.getOutputStream().write(REQUEST.getBytes());
            String answer = new String(socket.getInputStream().readAllBytes());
            // A session that is resumed keeps the time it was made at.
            boolean resumed = socket.getSession().getCreationTime() < began;
            String facts = answer.substring(answer.indexOf("\r\n\r\n")).strip();
            System.out.printf("\"resumed\": %b, \"session\": %s}%n", resumed, facts);
        }
    }
}
