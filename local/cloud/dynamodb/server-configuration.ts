const escapeXml = (text: string): string => text.replace(/[<>&"']/g, (character) => `&#${character.charCodeAt(0)};`);

/**
 * DynamoDB Local put together by Jetty's XML configuration (its jar comes along), the way its own main class does it, except
 * that it listens on loopback only: the main class listens on all interfaces and has no option for it. Telemetry is the main
 * class's business and does not take place. The class names are those of the pinned version.
 */
export const serverConfiguration = ({
  port,
  directory,
}: {
  readonly port: number;
  readonly directory: string | undefined;
}) => {
  const local = 'com.amazonaws.services.dynamodbv2.local.server';
  const jetty = 'org.eclipse.jetty.server';
  return `<?xml version="1.0"?>
<Configure id="server" class="${jetty}.Server">
  <Call name="addConnector">
    <Arg>
      <New class="${jetty}.ServerConnector">
        <Arg name="server"><Ref refid="server"/></Arg>
        <Set name="host">127.0.0.1</Set>
        <Set name="port">${port}</Set>
      </New>
    </Arg>
  </Call>
  <Set name="handler">
    <New class="${jetty}.handler.ContextHandler">
      <Set name="contextPath">/</Set>
      <Set name="handler">
        <New class="${local}.LocalDynamoDBServerHandler">
          <Arg>
            <New class="${local}.LocalDynamoDBRequestHandler">
              <!-- authority level, in memory, directory, shared database, delayed transient statuses -->
              <Arg type="int">0</Arg>
              <Arg type="boolean">${directory === undefined}</Arg>
              ${directory === undefined ? '<Arg/>' : `<Arg type="String">${escapeXml(directory)}</Arg>`}
              <Arg type="boolean">true</Arg>
              <Arg type="boolean">false</Arg>
            </New>
          </Arg>
          <Arg/>
        </New>
      </Set>
    </New>
  </Set>
</Configure>
`;
};
